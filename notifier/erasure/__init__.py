"""
Erases a person: deletes an address or a phone number wherever notifier itself keeps it.

* `person`: an address as it is compared, the pseudonym in its place, and where it stands
* `mentions`: finds an address in a text, also where it is encoded
* `erasing`: carries out what was asked for; `requests`: what that was, as rows
* `in_messages`, `in_tables`: the places of the journal; `wiping`: what is left of a message
* `export`: all that is held of a person, as JSON lines; `holdings`: what the journal holds
* `local_places`: the places on this machine: captured mails, logs, memory
"""
