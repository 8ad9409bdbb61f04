"""The routes of an application, and paths that lead to them."""

NOWHERE = "0" * 32  # the id of no message


def routes_of(app):
    for route in app.routes:
        for handler in route.route_handlers:
            if {str(method) for method in handler.http_methods} != {"OPTIONS"}:
                yield route.path, handler


def concrete(path):
    for name in ("{id:str}", "{name:str}", "{file:path}", "{address:path}"):
        path = path.replace(name, NOWHERE)
    return path
