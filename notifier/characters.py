"""Characters that may not stand in a line: they would end it, or move a cursor."""

import re

# What stands between the brackets of a regular expression: C0, DEL, C1, and Unicode's line breaks.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
CONTROL = re.compile(f"[{CONTROLS}]")
