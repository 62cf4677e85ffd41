"""Databases that are servers: what is lost and found, what is run again, what is refused at the start."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import text
from tests.metadata import places
from tests.servers import pgbouncer
from tests.servers.certificates import self_signed
from tests.servers.faultproxy import FaultProxy
from tests.servers.processes import Launcher, free_ports, give_away

from shoso.errors import ConfigError, Kind, ShosoError, TrackingError
from shoso.metadata import (
    experiments,
    metrics,
    model_history,
    models,
    registry,
    runs,
    search,
    versions,
)
from shoso.metadata.connect import Database
from shoso.metadata.dialects import choose, mysql, postgres, served
from shoso.wire.registry import CreateModelVersion, CreateRegisteredModel
from shoso.wire.requests import (
    CreateExperiment,
    CreateLoggedModel,
    CreateRun,
    LogMetric,
    LogModel,
    ParamInput,
    SearchRuns,
    TagInput,
)

KINDS = tuple(places.SERVERS)
CHILD = Path(__file__).with_name("logging_child.py")
RUNS = "SELECT count(*) FROM runs"


def opened(place, **options):
    return Database(choose(place.uri, replace(places.FEW, **options)))


async def new_run(database):
    return (await database.write(runs.create, CreateRun("0"))).info.run_id


def point(run_id, key="m", step=1, value=1.0):
    return LogMetric(run_id=run_id, key=key, value=value, timestamp=1, step=step)


# -- lost and found ---------------------------------------------------------------------------------------


ENDS = {
    "postgres": "SELECT pg_terminate_backend(pg_backend_pid())",
    "mariadb": "KILL CONNECTION_ID()",
}
LIVING = {
    "postgres": "SELECT pid FROM pg_stat_activity",
    "mariadb": "SELECT id FROM information_schema.processlist",
}


def cut(place):
    """End every connection to the database but the one that does it."""
    if place.kind == "postgres":
        place.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
        return
    for (number,) in place.execute(
        "SELECT id FROM information_schema.processlist WHERE db = database() AND id != connection_id()"
    ):
        place.execute(f"KILL {number}")


async def test_a_connection_that_was_ended_is_opened_again_without_an_error(place, database):
    run_id = await new_run(database)
    for step in range(3):
        await asyncio.to_thread(cut, place)
        await database.write_each(metrics.log_each, point(run_id, step=step))
        await asyncio.to_thread(cut, place)
        await database.write(runs.set_tags, run_id, [TagInput("t", str(step))], True)
        assert (await database.read(runs.get, run_id)).data.metrics[0].step == step


async def test_a_write_whose_connection_ends_in_the_middle_is_run_again(place, database):
    tries = []

    def work(conn):
        tries.append(1)
        experiments.create(conn, CreateExperiment("once"), "/a")
        if len(tries) == 1:
            cut(place)
        experiments.create(conn, CreateExperiment("twice"), "/a")

    await database.write(work)
    assert len(tries) == 2
    assert len(await database.read(rows, "SELECT name FROM experiments")) == 3


async def test_whether_a_write_was_kept_is_not_known_when_the_connection_ends_in_its_commit(place, database):
    def work(conn):
        experiments.create(conn, CreateExperiment("lost"), "/a")
        cut(place)

    with pytest.raises(ShosoError, match="whether it was isn't known") as caught:
        await database.write(work)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert await database.read(rows, "SELECT name FROM experiments") == [("Default",)]


async def test_what_is_made_is_there_once_when_the_answer_to_its_commit_is_lost(place):
    """Runs, logged models and versions: a client that asked again would have a second one."""
    await asyncio.to_thread(places.emptied, place)
    async with FaultProxy(place.engine.url.port) as proxy:
        url = place.engine.url.set(port=proxy.port)
        database = Database(choose(url.render_as_string(hide_password=False), places.FEW))
        await database.write(registry.create, CreateRegisteredModel("m"))
        version = CreateModelVersion("m", "s3://b/x")
        for work, arguments, table in (
            (runs.create, (CreateRun("0"), True, "a" * 32), "runs"),
            (models.create, (CreateLoggedModel("0", "m"), "m-" + "a" * 32), "logged_models"),
            (versions.create, (version, 1234), "model_versions"),
        ):
            tries = []

            def lost(conn, *arguments, again, work=work, tries=tries):
                tries.append(again)
                made = work(conn, *arguments, again=again)
                proxy.lose_answers = len(tries) == 1
                return made

            made = await database.create(lost, *arguments)
            assert tries == [False, True], work
            assert await database.read(rows, f"SELECT count(*) FROM {table}") == [(1,)]
            again = await database.write(partial(work, again=True), *arguments)
            assert made == again
        tries = []

        def lost_each(conn, asked, *, again):
            tries.append(again)
            made = runs.create_each(conn, asked, again=again)
            proxy.lose_answers = len(tries) == 1
            return made

        together = [(CreateRun("0"), True, each * 32) for each in "bcde"]
        made = await asyncio.gather(*(database.create_each(lost_each, each) for each in together))
        assert tries[:2] == [False, True]
        assert [run.info.run_id for run in made] == [run_id for *_, run_id in together]
        assert await database.read(rows, "SELECT count(*) FROM runs") == [(5,)]
        await database.close()


def rows(conn, sql):
    return [tuple(row) for row in conn.exec_driver_sql(sql)]


class Own:
    """A server of the test's own, to be stopped and started on the same port."""

    def __init__(self, kind, folder, more=""):
        self.module = places.SERVERS[kind]
        self.launcher = Launcher(kind, folder)
        self.port = free_ports(1)[0]
        self.more = more
        self.start()
        self.uri = self.module.uri(self.facts, self.module.create(self.facts))

    def start(self):
        self.facts = self.module.start(self.launcher, self.more, self.port)

    def stop(self):
        self.launcher.stop()
        self.launcher.processes.clear()


@pytest.fixture
def own(place):
    with TemporaryDirectory(
        prefix="own-"
    ) as folder:  # where another user may go, and a socket's path is short
        server = Own(place.kind, Path(folder))
        yield server
        server.stop()


def test_who_waits_too_long_for_others_to_make_the_tables_is_told_so(place, monkeypatch):
    monkeypatch.setattr(mysql, "_LOCK_SECONDS", 1)
    first, second = (choose(place.uri, replace(places.FEW, timeout=1.0), "--to") for _ in range(2))
    with pytest.raises(ConfigError, match=r"--to.*another server has been making the tables"):
        first.prepare(lambda _: second.prepare(lambda _: None))
    second.prepare(lambda _: None)
    if place.kind == "postgres":  # whose two limits a busy machine may keep in any order
        with monkeypatch.context() as patch:
            patch.setattr(postgres.Postgres, "greet", impatient)
            with pytest.raises(ConfigError, match=r"--to.*another server has been making the tables"):
                first.prepare(lambda _: second.prepare(lambda _: None))
            with pytest.raises(ConfigError, match=r"--to.*longer than SHOSO_DATABASE_TIMEOUT allows"):
                first.prepare(lambda conn: conn.exec_driver_sql("SELECT pg_sleep(5)"))
    first.close()
    second.close()


def impatient(_product, raw, _options, _read_only):
    raw.execute("SET statement_timeout = 200")
    raw.commit()


async def test_a_reader_too_leaves_its_connection_when_a_writers_was_lost(place):
    """It may have reached the old primary meanwhile, and read for long."""
    dialect = choose(place.uri, places.FEW)
    database, reading, written = Database(dialect), threading.Event(), threading.Event()
    number = {"postgres": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}[place.kind]
    tries = []

    def held(conn):
        mine = rows(conn, number)
        reading.set()
        assert written.wait(10)
        return mine

    def cut_off(conn):
        tries.append(1)
        if len(tries) == 1:
            conn.exec_driver_sql(ENDS[place.kind])
        return rows(conn, number)

    long = asyncio.ensure_future(database.read(held))
    assert await asyncio.to_thread(reading.wait, 10)
    await database.write(cut_off)
    written.set()
    before = await long
    for _ in range(places.FEW.readers):
        assert await database.read(rows, number) != before
    await asyncio.to_thread(wait_until_ended, place, before[0])
    await database.close()


def wait_until_ended(place, session):
    deadline = time.monotonic() + 10
    while session in place.execute(LIVING[place.kind]):
        assert time.monotonic() < deadline, "its connection stayed open"
        time.sleep(0.05)


async def test_a_database_that_restarts_is_waited_for_and_one_that_is_away_is_told(own, monkeypatch, caplog):
    database = Database.open(own.uri, artifact_root="/a", options=places.FEW)
    run_id = await new_run(database)
    await asyncio.to_thread(own.stop)
    waiting = [
        asyncio.ensure_future(database.read(runs.get, run_id)),
        asyncio.ensure_future(database.write(runs.log_params, run_id, [ParamInput("p", "1")], True)),
        asyncio.ensure_future(database.write_each(metrics.log_each, point(run_id))),
    ]
    await asyncio.sleep(0.3)
    await asyncio.to_thread(own.start)
    await asyncio.gather(*waiting)

    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.1)
    await asyncio.to_thread(own.stop)
    for call in (
        database.read(runs.get, run_id),
        database.write_each(metrics.log_each, point(run_id, step=2)),
    ):
        with pytest.raises(ShosoError, match="can't be reached; try again") as caught:
            await call
        assert caught.value.kind is Kind.UNAVAILABLE
    await asyncio.to_thread(own.start)
    for step in range(3, 6):
        await database.write_each(metrics.log_each, point(run_id, step=step))
    run = await database.read(runs.get, run_id)
    await database.close()
    assert (run.data.metrics[0].step, run.data.params[0].value) == (5, "1")
    assert "lost; trying again" in caplog.text


async def test_connections_to_a_standby_are_left_for_the_primary_that_the_name_leads_to(own, monkeypatch):
    """As after a failover: the name leads to the old one for a moment, then to the new one."""
    if own.module is not places.SERVERS["postgres"]:
        return
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.2)
    async with FaultProxy(own.port) as proxy:
        uri = own.uri.replace(f":{own.port}/", f":{proxy.port}/")
        database = await asyncio.to_thread(Database.open, uri, artifact_root="/a", options=places.FEW)
        run_id = await new_run(database)
        with standby(own) as port:
            proxy.upstream = port
            proxy.reset_all()
            for _ in range(2):
                with pytest.raises(ShosoError, match="read-only") as caught:
                    await database.write_each(metrics.log_each, point(run_id))
                assert caught.value.kind is Kind.UNAVAILABLE
                assert await database.read(in_recovery)
            proxy.upstream = own.port
            await new_run(database)
            assert not await database.read(in_recovery)
        await database.close()


async def test_a_mysql_that_became_read_only_is_left_and_tried_again(own):
    if own.module is not places.SERVERS["mariadb"]:
        return
    name = own.uri.rpartition("/")[2].partition("?")[0]
    own.module.sql(own.facts, "CREATE USER 'app'@'127.0.0.1' IDENTIFIED BY 'test'")
    own.module.sql(own.facts, f"GRANT ALL ON {name}.* TO 'app'@'127.0.0.1'")
    uri = own.uri.replace("//test:", "//app:")
    database = Database.open(uri, artifact_root="/a", options=places.FEW)
    run_id = await new_run(database)
    number = await database.write(rows, "SELECT connection_id()")
    own.module.sql(own.facts, "SET GLOBAL read_only = 1")
    waiting = asyncio.ensure_future(database.write_each(metrics.log_each, point(run_id)))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    own.module.sql(own.facts, "SET GLOBAL read_only = 0")
    await waiting
    assert await database.write(rows, "SELECT connection_id()") > number
    await database.close()


# -- TLS --------------------------------------------------------------------------------------------------

OPTIONS = {
    "postgres": "-c ssl=on -c ssl_cert_file={certificate} -c ssl_key_file={key}",
    "mariadb": "--ssl-cert={certificate} --ssl-key={key} --require-secure-transport=ON",
}
CIPHER = {
    "postgres": "SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mariadb": "SELECT variable_value FROM information_schema.session_status"
    " WHERE variable_name = 'SSL_CIPHER'",
}


async def test_tls_is_what_the_uri_says(place, tmp_path):
    stranger, _ = self_signed(tmp_path, "stranger")
    with TemporaryDirectory(prefix="own-") as folder:
        certificate, key = self_signed(Path(folder))
        give_away(certificate, key)
        own = Own(place.kind, Path(folder), OPTIONS[place.kind].format(certificate=certificate, key=key))
        try:
            ca = "sslmode=verify-full&sslrootcert={}" if place.kind == "postgres" else "ssl_ca={}"
            uri = own.uri.partition("?")[0] + "?"
            database = Database.open(uri + ca.format(certificate), artifact_root="/a", options=places.FEW)
            assert await database.read(rows, CIPHER[place.kind]) > [("A",)]
            await database.close()
            assert "isn't trusted; name the file of its authority by ssl" in refusal(
                uri + ca.format(stranger)
            )
            if place.kind == "mariadb":
                options = replace(places.FEW, ssl_ca=str(certificate))
                await Database.open(uri, artifact_root="/a", options=options).close()
                with pytest.raises(ConfigError, match="certificate"):
                    Database.open(uri, artifact_root="/a", options=replace(options, ssl_ca=str(stranger)))
        finally:
            own.stop()


async def test_a_database_without_tls_is_refused_where_it_is_asked_for(place):
    if place.kind == "postgres":
        assert "speaks no TLS" in refusal(place.uri + "?sslmode=require")


# -- a pooler ---------------------------------------------------------------------------------------------


async def test_behind_a_pooler_each_transaction_may_have_another_connection(place):
    """PgBouncer's has statements that somebody else prepared, by the same names."""
    if place.kind != "postgres":
        return
    with pgbouncer.before(places.SERVERS["postgres"].server()) as port:
        uri = place.engine.url.set(port=port).render_as_string(hide_password=False)
        options = replace(places.FEW, pool_size=8, timeout=7.0)
        servers = [Database.open(uri, artifact_root="/a", options=options) for _ in range(2)]
        run_id = await new_run(servers[0])
        for number in range(12):
            await asyncio.gather(
                *(each.write(runs.set_tags, run_id, [TagInput(f"t{number}", "1")], True) for each in servers),
                *(each.write_each(metrics.log_each, point(run_id, step=number)) for each in servers),
                *(each.search(search.search_runs, SearchRuns(["0"])) for each in servers),
                *(each.read(runs.get, run_id) for each in servers),
            )
        run = await servers[1].read(runs.get, run_id)
        assert (len(run.data.tags), run.data.metrics[0].step) == (13, 11)
        timeouts = await asyncio.gather(
            *(each.read(rows, "SHOW statement_timeout") for each in servers for _ in range(8))
        )
        assert {timeout for [(timeout,)] in timeouts} == {"7s"}
        with psycopg.connect(str(uri).replace("+psycopg", ""), autocommit=True) as other:
            assert other.execute("SHOW statement_timeout").fetchone() == ("0",)
        for each in servers:
            await each.close()


# -- several servers --------------------------------------------------------------------------------------


async def test_a_deadlock_is_nobodys_error(place):
    database = opened(place, pool_size=8)  # two threads at least that write at once
    ids = sorted([await new_run(database), await new_run(database)])
    barrier = threading.Barrier(2, timeout=10)
    tries = []

    def rename(conn, order):
        for number, run_id in enumerate(order):
            runs.update(conn, run_id, renamed(order[0]))
            tries.append(run_id)
            if number == 0 and len(tries) <= 2:
                barrier.wait()

    await asyncio.gather(database.write(rename, ids), database.write(rename, ids[::-1]))
    assert len(tries) > 4, "there was no deadlock"
    names = {(await database.read(runs.get, run_id)).info.run_name for run_id in ids}
    assert len(names) == 1, "one of the two was written in between the other's writes"
    await database.close()


def renamed(name):
    from shoso.wire.requests import UpdateRun

    return UpdateRun(run_name=name)


async def test_a_name_that_two_servers_take_at_once_is_had_by_one_and_refused_to_the_other(place):
    servers = [opened(place), opened(place)]
    barrier = threading.Barrier(2, timeout=10)
    tries = []

    def create(conn):
        return experiments.create(conn, CreateExperiment("same"), "/a") if len(tries) >= 2 else late(conn)

    def late(conn):
        """Both look before either has committed."""
        tries.append(1)
        assert rows(conn, "SELECT name FROM experiments WHERE name = 'same'") == []
        barrier.wait()
        return experiments.create(conn, CreateExperiment("same"), "/a")

    outcomes = await asyncio.gather(*(each.write(create) for each in servers), return_exceptions=True)
    for each in servers:
        await each.close()
    errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(errors) == 1, outcomes
    assert isinstance(errors[0], TrackingError)
    assert (errors[0].kind, str(errors[0])) == (Kind.DUPLICATE, "Experiment(name=same) already exists.")


async def test_servers_that_write_the_same_run_lose_nothing_and_agree_on_the_latest(place, database):
    run_id = await new_run(database)
    work = [("points", 60), ("points", 60), ("batches", 6), ("batches", 6)]
    children = [start(place.uri, run_id, kind, str(calls)) for kind, calls in work]
    outputs = [await asyncio.to_thread(child.communicate) for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert [len(stdout.split()) for stdout, _ in outputs] == [calls for _, calls in work]
    run = await database.read(runs.get, run_id)
    assert {metric.key: metric.step for metric in run.data.metrics} == {"loss": 59} | {
        f"m{number}": 5 for number in range(200)
    }
    assert {param.key for param in run.data.params} == {f"p{number}" for number in range(6)}
    found = await database.read(rows, "SELECT count(*) FROM metrics")
    assert found == [(60 + 6 * 200,)]


def start(*arguments):
    return subprocess.Popen([sys.executable, CHILD, *arguments], stdout=subprocess.PIPE, text=True)


async def test_nobody_writes_to_a_run_between_its_look_and_its_write(place):
    """A param has one value, whichever of two servers is asked to set it."""
    servers = [opened(place), opened(place)]
    run_id = await new_run(servers[0])
    for number in range(20):
        calls = [
            each.write(runs.log_params, run_id, [ParamInput(f"p{number}", str(place))], True)
            for place, each in enumerate(servers)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert [error.kind for error in refused] == [Kind.INVALID]
        assert "was already logged with value" in str(refused[0])
    for each in servers:
        await each.close()


async def test_what_is_read_to_be_written_again_is_not_lost(place):
    """The lists that MLflow keeps in tags: the models that a run logged, the versions made of a model."""
    servers = [opened(place), opened(place)]
    run_id = await new_run(servers[0])
    made = await servers[0].write(models.create, CreateLoggedModel("0", "m"))
    for name in ("a", "b"):
        await servers[0].write(registry.create, CreateRegisteredModel(name))
    source = f"models:/{made.info.model_id}"
    calls = []
    for number in range(10):
        for name, each in zip(("a", "b"), servers, strict=True):
            calls.append(
                each.write(model_history.record, LogModel(run_id, logged(run_id, f"{name}{number}")))
            )
            version = CreateModelVersion(name, source, model_id=made.info.model_id)
            calls.append(each.write(versions.create, version))
    await asyncio.gather(*calls)
    run = await servers[0].read(runs.get, run_id)
    history = next(json.loads(tag.value) for tag in run.data.tags if tag.key == model_history.TAG)
    assert {model["artifact_path"] for model in history} == {f"{n}{i}" for n in "ab" for i in range(10)}
    noted = json.loads(await servers[0].read(models.tag, made.info.model_id, versions.VERSIONS))
    assert {(one["name"], one["version"]) for one in noted} == {(n, i) for n in "ab" for i in range(1, 11)}
    for each in servers:
        await each.close()


async def test_versions_that_are_made_at_once_all_get_a_number_of_their_own(place):
    """More than a transaction is tried again: who makes one waits for the model's row, and then looks."""
    servers = [opened(place, pool_size=8) for _ in range(4)]
    await servers[0].write(registry.create, CreateRegisteredModel("m"))
    request = CreateModelVersion("m", "s3://b/x", tags=[TagInput("a", "1")])
    made = await asyncio.gather(*(servers[i % 4].write(versions.create, request) for i in range(16)))
    assert sorted(int(version.version) for version in made) == [*range(1, 17)]
    for each in servers:
        await each.close()


def logged(run_id, path):
    """What a client says of a model that it logged."""
    return json.dumps({"artifact_path": path, "flavors": {}, "utc_time_created": "now", "run_id": run_id})


async def test_nothing_is_logged_to_a_run_that_another_server_deletes(place):
    """Each point is in the database before the run is deleted, or refused."""
    servers = [opened(place), opened(place)]
    for _ in range(10):
        run_id = await new_run(servers[0])
        outcome, _ = await asyncio.gather(
            servers[0].write_each(slowly, point(run_id)), servers[1].write(runs.delete, run_id),
            return_exceptions=True,
        )  # fmt: skip
        assert outcome is None or outcome.kind is Kind.INVALID
    for each in servers:
        await each.close()


def slowly(conn, requests):
    """Log, and look at the runs once more before the commit."""
    outcomes = metrics.log_each(conn, requests)
    time.sleep(0.02)
    stages = {row.run_uuid: row.lifecycle_stage for row in conn.execute(text("SELECT * FROM runs"))}
    for request, outcome in zip(requests, outcomes, strict=True):
        assert outcome is not None or stages[request.run_id] == "active", "deleted while it was written to"
    return outcomes


async def test_no_more_connections_are_opened_than_may_be(place):
    database = opened(place, pool_size=3, max_overflow=2)
    run_id = await new_run(database)
    count = {
        "postgres": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
        "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = database()",
    }[place.kind]
    before = place.execute(count)[0][0]
    seen = []

    def busy(conn):
        seen.append(rows(conn, count)[0][0])
        return runs.get(conn, run_id)

    calls = [database.read(busy) for _ in range(40)]
    calls += [database.write(runs.set_tags, run_id, [TagInput(f"k{n}", "v")], True) for n in range(40)]
    await asyncio.gather(*calls)
    assert max(seen) <= 5 + before
    await database.close()


# -- limits -----------------------------------------------------------------------------------------------


async def test_a_statement_that_takes_too_long_is_given_up(place):
    database = opened(place, timeout=0.2)
    slow = {
        "postgres": "SELECT pg_sleep(20)",
        "mariadb": "SELECT count(*) FROM information_schema.columns a, information_schema.columns b,"
        " information_schema.columns c",
    }[place.kind]
    with pytest.raises(ShosoError, match="SHOSO_DATABASE_TIMEOUT") as caught:
        await database.read(rows, slow)
    assert caught.value.kind is Kind.TIMEOUT
    assert len(await database.read(rows, "SELECT name FROM experiments")) == 1
    await database.close()


async def test_a_read_sees_one_state_and_cannot_write(place, database):
    def work(conn):
        before = rows(conn, "SELECT name FROM experiments")
        place.execute("UPDATE experiments SET name = 'Other'")
        return before == rows(conn, "SELECT name FROM experiments")

    assert await database.read(work)
    assert await database.read(rows, "SELECT name FROM experiments") == [("Other",)]
    with pytest.raises(ShosoError) as caught:
        await database.read(lambda conn: conn.execute(text("DELETE FROM experiments")))
    assert caught.value.kind is Kind.UNAVAILABLE


async def test_a_number_that_fits_no_column_is_the_id_of_nothing(place, database):
    with pytest.raises(TrackingError) as caught:
        await database.read(experiments.get, "9" * 18)
    assert caught.value.kind is Kind.NOT_FOUND


async def test_a_text_with_nul_is_kept_or_refused(place, database):
    call = database.write(experiments.create, CreateExperiment("a\0b"), "/a")
    if place.kind == "mariadb":
        number = await call
        assert (await database.read(experiments.get, number)).name == "a\0b"
        return
    with pytest.raises(ShosoError, match="a text with NUL") as caught:
        await call
    assert caught.value.kind is Kind.INVALID


async def test_a_pattern_that_ends_in_a_backslash_finds_it_or_is_refused(place, database):
    tags = [TagInput("k", "a\\")]
    await database.write(runs.create, CreateRun("0", tags=tags))
    call = database.search(search.search_runs, SearchRuns(["0"], "tags.k LIKE 'a\\'"))
    if place.kind == "mariadb":
        assert len((await call).runs) == 1
        return
    with pytest.raises(ShosoError, match="can't end in one backslash") as caught:
        await call
    assert caught.value.kind is Kind.INVALID


async def test_connections_of_their_own_for_each_work_do_as_well(place):
    database = opened(place, pool_class="NullPool")
    run_id = await new_run(database)
    for step in range(8):  # more often than it takes to prepare a statement
        await database.write_each(metrics.log_each, point(run_id, step=step))
        assert (await database.read(runs.get, run_id)).data.metrics[0].step == step
    await database.close()


async def test_statements_are_logged_without_values_where_that_is_asked_for(place, caplog):
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        database = opened(place, echo=True)
        await database.write(experiments.create, CreateExperiment("secret-name"), "/a")
        await database.close()
    assert "INSERT INTO experiments" in caplog.text
    assert "secret-name" not in caplog.text


# -- a replica --------------------------------------------------------------------------------------------


async def test_a_streaming_replica_answers_searches(own):
    if own.module is not places.SERVERS["postgres"]:
        return
    database = Database.open(own.uri, artifact_root="/a", options=places.FEW)
    run_id = await new_run(database)
    await database.close()
    with standby(own) as port:
        replica = own.uri.replace(f":{own.port}/", f":{port}/")
        database = Database.open(own.uri, artifact_root="/a", options=places.FEW, replica=replica)
        assert await database._searchers.run(in_recovery)
        assert not await database.read(in_recovery)
        other = await new_run(database)
        found = []
        while len(found) < 2:
            found = (await database.search(search.search_runs, SearchRuns(["0"]))).runs
        assert {run.info.run_id for run in found} == {run_id, other}
        await database.close()
        assert "is a read-only standby; name the primary" in refusal(replica)


@contextmanager
def standby(own):
    """The port of a streaming replica of that PostgreSQL."""
    with TemporaryDirectory(prefix="own-") as folder:
        launcher = Launcher("replica", Path(folder))
        try:
            yield own.module.follow(launcher, own.facts)["port"]
        finally:
            launcher.stop()


def in_recovery(conn):
    return rows(conn, "SELECT pg_is_in_recovery()") == [(True,)]


async def test_searches_go_to_the_replica_and_to_the_database_when_it_is_away(place, monkeypatch):
    """Another database stands in for a replica that is behind."""
    other = places.new(place.kind)
    await Database.open(other, artifact_root="/a", options=places.FEW).close()
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.1)
    database = Database.open(place.uri, artifact_root="/a", options=places.FEW, replica=other)
    run_id = await new_run(database)
    assert (await database.search(search.search_runs, SearchRuns(["0"]))).runs == ()
    assert (await database.read(runs.get, run_id)).info.run_id == run_id
    drop = "DROP DATABASE {} (FORCE)" if place.kind == "postgres" else "DROP DATABASE {}"
    place.execute(drop.format(other.rpartition("/")[2].partition("?")[0]))
    if place.kind == "postgres":
        found = await database.search(search.search_runs, SearchRuns(["0"]))
        assert [run.info.run_id for run in found.runs] == [run_id]
    await database.close()


async def test_a_replica_that_fell_silent_is_left_alone_for_a_while(place, monkeypatch):
    if place.kind != "mariadb":  # PostgreSQL's driver waits for 2 seconds at least
        return
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.1)
    async with FaultProxy(place.engine.url.port) as proxy:
        query = {**place.engine.url.query, "connect_timeout": "1"}
        replica = place.engine.url.set(port=proxy.port, query=query).render_as_string(hide_password=False)
        opening = partial(Database.open, artifact_root="/a", options=places.FEW, replica=replica)
        database = await asyncio.to_thread(opening, place.uri)
        await database.search(rows, "SELECT 1")
        proxy.blackhole = True
        proxy.reset_all()
        await database.search(rows, "SELECT 1")
        asked = proxy.connections
        await asyncio.gather(*(database.search(rows, "SELECT 1") for _ in range(9)))
        assert proxy.connections == asked
        proxy.blackhole = False
        monkeypatch.setattr("shoso.metadata.connect._ALONE_SECONDS", 0.0)
        await database.search(rows, "SELECT 1")
        assert proxy.connections > asked
        await database.close()


def test_what_is_no_replica_is_refused(place, monkeypatch):
    monkeypatch.setattr("shoso.metadata.connect._REPLICA_SECONDS", 0.1)
    with pytest.raises(ConfigError, match=r"--read-replica-backend-store-uri: there are no runs in"):
        Database.open(place.uri, artifact_root="/a", options=places.FEW, replica=places.new(place.kind))


# -- refused at the start ---------------------------------------------------------------------------------


def refusal(uri):
    with pytest.raises(ConfigError) as caught:
        Database.open(uri, artifact_root="/a")
    sentence = str(caught.value)
    assert sentence.startswith("--backend-store-uri: ")
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    return sentence


RIGHT = quote("r€ght")
"""A password with a character that isn't in Latin-1."""


def locked_out(place):
    """The address of the server, and a user with a password, RIGHT, and no right."""
    module = places.SERVERS[place.kind]
    facts = module.server()
    if place.kind == "postgres":
        exists = module.sql(facts, "SELECT 1 FROM pg_roles WHERE rolname = 'locked'")
        if not exists:
            module.sql(facts, "CREATE ROLE locked LOGIN PASSWORD 'r€ght'")
        return f"postgresql://locked:{{}}@127.0.0.1:{facts['port']}/", facts
    place.execute("CREATE USER IF NOT EXISTS 'locked'@'127.0.0.1' IDENTIFIED BY 'r€ght'")
    return f"mysql://locked:{{}}@127.0.0.1:{facts['port']}/", facts


def test_a_wrong_password_is_told(place):
    uri, _ = locked_out(place)
    sentence = refusal(uri.format("hunter2") + place.engine.url.database)
    assert "refuses the user 'locked' with that password; correct them in the URI" in sentence


def test_a_missing_database_is_told(place):
    sentence = refusal(place.uri.replace(place.engine.url.database, "missing"))
    assert "missing" in sentence
    assert "create it, or correct the URI" in sentence


def test_a_missing_right_is_told(place):
    uri, facts = locked_out(place)
    name = places.SERVERS[place.kind].create(facts)
    sentence = refusal(uri.format(RIGHT) + name)
    assert "'locked' may not" in sentence
    assert "grant it: GRANT ALL ON" in sentence


def test_a_right_that_is_missing_later_is_told(place):
    """To read is allowed, to make tables is not."""
    uri, facts = locked_out(place)
    module = places.SERVERS[place.kind]
    name = module.create(facts)
    if place.kind == "mariadb":
        module.sql(facts, f"GRANT SELECT ON {name}.* TO 'locked'@'127.0.0.1'")
    sentence = refusal(uri.format(RIGHT) + name)
    assert "grant it: GRANT ALL ON" in sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda url: url.set(host="nosuch.invalid"), "nosuch.invalid:{port}, isn't known; correct it"),
        (lambda url: url.set(port=1), "nothing listens at 127.0.0.1:1; start "),
        (lambda url: url.set(query={"nonsense": "1"}), "nonsense"),
    ],
)
def test_a_wrong_address_is_told(place, change, sentence):
    url = change(place.engine.url.set(password="hunter2"))
    assert sentence.format(port=url.port) in refusal(url.render_as_string(hide_password=False))


def test_a_missing_driver_is_told_with_what_installs_it(place, monkeypatch):
    driver, module, extra = {
        "postgres": ("psycopg", "postgres", "postgres"),
        "mariadb": ("pymysql", "mysql", "mysql"),
    }[place.kind]
    monkeypatch.delitem(sys.modules, f"shoso.metadata.dialects.{module}")
    monkeypatch.setitem(sys.modules, driver, None)
    assert refusal(place.uri).endswith(f"needs the package {driver}: pip install 'shoso[{extra}]'")


def test_the_uri_is_shown_without_its_password_and_options(place):
    url = place.engine.url.set(password=place.engine.url.password or "hunter2")
    other = places.Place(place.kind, place.uri)
    other.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    try:
        sentence = refusal(url.render_as_string(hide_password=False))
    finally:
        other.execute("UPDATE alembic_version SET version_num = 'dc11669786a5'")
    assert "mlflow db upgrade" in sentence
    assert ":***@127.0.0.1" in sentence
    assert "ssl_disabled" not in sentence


@pytest.mark.parametrize("name", ["postgresql", "postgresql+psycopg2", "mysql", "mysql+mysqldb"])
async def test_every_driver_that_mlflow_knows_may_be_named(place, name):
    if name.partition("+")[0] != place.engine.url.get_backend_name():
        return
    url = place.engine.url.set(drivername=name).render_as_string(hide_password=False)
    database = Database.open(url, artifact_root="/a", options=places.FEW)
    assert (await database.read(experiments.get, "0")).name == "Default"
    await database.close()
