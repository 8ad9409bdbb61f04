"""
Forgets a person: an address or a phone number is erased wherever notifier itself keeps it.

* `person`: an address as it is compared, the pseudonym in its place, and where it stands
* `places`: what each place where an address may stand can do
* `mentions`: finds an address in a text, also where it is encoded
* `captured_mails`, `log_files`, `memory`: the places on this machine
"""
