"""Settings of a Django project that sends by notifier, in this process."""

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        **(
            {"MAILERS": {"default": {"BACKEND": "notifier.client.django.EmailBackend"}}}
            if django.VERSION >= (6, 1)
            else {"EMAIL_BACKEND": "notifier.client.django.EmailBackend"}
        ),
        DEFAULT_FROM_EMAIL="shop@example.org",
        ADMINS=["ops@example.org"] if django.VERSION >= (6, 0) else [("Ops", "ops@example.org")],
        SERVER_EMAIL="server@example.org",
    )
    django.setup()
