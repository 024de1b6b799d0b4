"""The training table, told through a file."""

from rasterloom.models.history import EpochRow
from rasterloom.pipeline.training import relay as relay_file
from rasterloom.pipeline.training.relay import Listener, Relay, Teller


class Table:
    """Keeps what it is shown."""

    def __init__(self):
        self.seen = []

    def begin(self, epoch, batches):
        self.seen.append(("begin", epoch, batches))

    def advance(self):
        self.seen.append("advance")

    def add(self, row, *, best):
        self.seen.append((row, best))

    def close(self): ...


def row(epoch):
    return EpochRow(epoch, 0.5, float("inf"), {"miou": 0.25}, 1.5)


def test_the_table_is_shown_as_it_was_told_and_nothing_twice(tmp_path, monkeypatch):
    table = Table()
    listener = Listener(Relay(tmp_path), table)
    listener.listen()
    assert table.seen == []
    teller = Teller(Relay(tmp_path))
    teller.begin(1, 3)
    for _ in range(3):
        teller.advance()
    teller.add(EpochRow(1, 0.5, 0.75, {"miou": 0.25}, 1.5), best=True)
    expected = [("begin", 1, 3), *["advance"] * 3, (EpochRow(1, 0.5, 0.75, {"miou": 0.25}, 1.5), True)]
    listener.listen()
    assert table.seen == expected
    listener.listen()
    assert table.seen == expected


def test_progress_is_told_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(relay_file, "_EVERY", 0.0)
    teller, table = Teller(Relay(tmp_path)), Table()
    teller.advance()
    Listener(Relay(tmp_path), table).listen()
    assert table.seen == ["advance"]


def test_a_line_that_is_half_written_is_waited_for(tmp_path):
    relay, table = Relay(tmp_path), Table()
    listener = Listener(relay, table)
    relay.events.write_text('{"begin": [1, 2]}\n{"adv')
    listener.listen()
    assert table.seen == [("begin", 1, 2)]
    with relay.events.open("a") as file:
        file.write('ance": 1}\n')
    listener.listen()
    assert table.seen == [("begin", 1, 2), "advance"]


def test_an_epoch_that_is_trained_again_is_shown_once(tmp_path):
    relay, table = Relay(tmp_path), Table()
    for epochs in ((1, 2), (2, 3)):
        teller = Teller(relay)
        for epoch in epochs:
            teller.add(row(epoch), best=False)
    Listener(relay, table).listen()
    assert [seen[0].epoch for seen in table.seen] == [1, 2, 3]
