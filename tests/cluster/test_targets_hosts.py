import pytest

from rasterloom.cluster.targets_hosts import read_hosts
from rasterloom.models.errors import SettingError

SMALLEST = '[scheduler]\nhost = "10.0.0.1"\n[[workers]]\nhost = "10.0.0.2"\n'


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        (tmp_path / "hosts.toml").write_text(text)
        return read_hosts(tmp_path / "hosts.toml")

    return write_and_read


def test_a_host_for_each_machine_is_enough(read):
    hosts = read(SMALLEST)
    assert [machine.login.host for machine in hosts.machines] == ["10.0.0.1", "10.0.0.2"]
    assert hosts.scheduler.settings == {"role": "scheduler", "listen": None, "port": 8786}
    assert hosts.workers[0].settings["gpus"] == "auto"
    assert hosts.scheduler.login.command == "python3 -m rasterloom.cluster.targets_node"
    assert not hosts.with_tls


def test_a_machine_has_the_last_word_over_the_defaults(read):
    hosts = read(
        '[defaults]\nuser = "a"\nport = 2222\npython = "/some where/python"\n' + SMALLEST + 'user = "b"\n'
    )
    assert [machine.login.user for machine in hosts.machines] == ["a", "b"]
    assert {machine.login.port for machine in hosts.machines} == {2222}
    assert hosts.scheduler.login.command.startswith("'/some where/python' -m ")


def test_a_command_cannot_be_smuggled_into_the_path_of_python(read):
    (worker,) = read(SMALLEST + 'python = "python; rm -r /"\n').workers
    assert worker.login.command == "'python; rm -r /' -m rasterloom.cluster.targets_node"


def test_machines_reached_at_their_loopback_listen_nowhere_else(read):
    hosts = read(SMALLEST.replace("10.0.0.1", "localhost").replace("10.0.0.2", "127.0.0.1"))
    assert [machine.settings["listen"] for machine in hosts.machines] == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize("name", ["password", "passphrase", "api_token"])
def test_nothing_secret_is_taken_from_the_file(read, name):
    with pytest.raises(SettingError, match=f"'{name}': no password or token is taken from a file") as caught:
        read(SMALLEST + f'{name} = "hunter2"\n')
    assert "hunter2" not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(read, tmp_path):
    (tmp_path / "key").write_text("x")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(SettingError, match=r"Others on this machine can read the key .*run 'chmod 600"):
        read(SMALLEST + f'key = "{tmp_path}/key"\n')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[scheduler]\nhost = "a"\n', "lists no workers"),
        ('[[workers]]\nhost = "a"\n', r"\[scheduler\] of .* names no machine"),
        (SMALLEST + "[[workers]]\n", r"\[\[workers\]\] number 2 of .* names no machine"),
        (SMALLEST + "processes = 0\n", "processes = 0 .*use 1 or more"),
        (SMALLEST + "threads = true\n", "threads = True .*has to be a whole number"),
        (SMALLEST + 'memory_limit = "lots"\n', "no amount of memory"),
        (SMALLEST + 'tls = "/etc/keys"\n', "to some machines only"),
        (SMALLEST + "sockets = 2\n", "'sockets', which is unknown: use address, folder"),
        (SMALLEST.replace("[[", "dask_port = 70000\n[["), "dask_port = 70000"),
        ("scheduler = 1\n", "has to be a table"),
        ("[scheduler\n", "is no TOML file"),
    ],
)
def test_what_cannot_work_is_named(read, text, told):
    with pytest.raises(SettingError, match=told):
        read(text)
