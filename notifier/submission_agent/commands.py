"""What stands behind MAIL and RCPT: an address and parameters. RFC 5321, section 4.1.2."""

import re

NULL = "<>"  # as aiosmtpd writes the null reverse-path of RFC 5321, section 4.5.5

# Without its source route.
_PATH = re.compile(r'<(?:@[^:<>]*:)?((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>(?:\s+(.*))?')
_BEHIND = re.compile(r'([^<"]*<(?:"(?:[^"\\]|\\.)*"|[^>"])*>)(.*)')
_BARE = re.compile(r"([^<>\s]+)(?:\s+(.*))?")


def path(argument: str) -> tuple[str | None, str | None]:
    """The address, and what stands behind it. None: there is no address."""
    found = _PATH.fullmatch(argument) or _BARE.fullmatch(argument)
    if found is None:
        return None, None
    return found[1] or NULL, found[2] or ""


def parameters(argument: str | None, ours: tuple[str, ...]) -> tuple[str | None, dict[str, str]]:
    """The argument without these parameters, and the parameters, in upper case."""
    split = _BEHIND.fullmatch(argument or "")
    if split is None or not split[2].strip():
        return argument, {}
    kept, found = [], {}
    for each in split[2].split():
        name, _, value = each.partition("=")
        if name.upper() in ours:
            found[name.upper()] = value.upper()
        else:
            kept.append(each)
    return " ".join((split[1], *kept)), found
