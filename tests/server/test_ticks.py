"""The ticks of the server, by which uvicorn renews the `Date` of its answers."""

from notifier.server import process
from notifier.server.process import Server


async def test_server_at_rest_renews_the_date_with_each_tick(monkeypatch):
    """Uvicorn does so where the tick's number can be divided by ten, however busy it was before."""
    monkeypatch.setattr(process, "TICK_SECONDS", 0.001)

    class Counted(Server):
        async def on_tick(self, counter):
            ticks.append(counter)
            if len(ticks) == 4:
                self.server_state.connections.clear()
            return len(ticks) == 7

    ticks = []
    server = Counted(process.uvicorn.Config("none:none", log_config=None))
    server.server_state.connections.add(object())
    await server.main_loop()
    assert ticks == [0, 1, 2, 3, 10, 20, 30]
