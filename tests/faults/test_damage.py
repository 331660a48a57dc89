"""A damaged store: one clear message and a non-zero exit, or a start with sessions valid or dropped and a line that says so (S12).

Never a panic trace, never a session that had been logged out, never an emptied store taken for a fresh one.
"""

import collections
import shutil

from rig import FaultTest, Ledger, chooser, copy_store, rounds

KEPT, ENDED = 24, 12
DISTRUST = "is not trusted"
QUARANTINE = "cannot be read were set aside"


def data(store):
    return store / "db"


def marker(store):
    return store.with_name(store.name + ".marker")


def overwrite(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def flip(path, choose, before=None):
    size = min(before or path.stat().st_size, path.stat().st_size)
    offset = choose.randrange(size)
    with path.open("rb") as file:
        file.seek(offset)
        byte = file.read(1)[0]
    overwrite(path, offset, bytes([byte ^ (1 << choose.randrange(8))]))


def cut(path, length):
    with path.open("r+b") as file:
        file.truncate(max(0, length))


def used(path):
    """How much of the data file is not zero at its end."""
    return len(path.read_bytes().rstrip(b"\0")) or 1


class Damage(FaultTest):
    # Each takes the store's folder and a generator, and does its harm.
    @staticmethod
    def flipped_bit(store, choose):
        flip(data(store), choose, used(data(store)))

    @staticmethod
    def flipped_bit_at_the_beginning(store, choose):
        flip(data(store), choose, 64)

    @staticmethod
    def several_flipped_bits(store, choose):
        for _ in range(choose.randint(2, 40)):
            flip(data(store), choose, used(data(store)))

    @staticmethod
    def zeroed_range(store, choose):
        end = used(data(store))
        start = choose.randrange(end)
        overwrite(data(store), start, bytes(min(choose.choice([1, 64, 512, 4096, 65536]), end - start)))

    @staticmethod
    def garbage_range(store, choose):
        overwrite(data(store), choose.randrange(used(data(store))), choose.randbytes(choose.choice([1, 64, 512, 4096])))

    @staticmethod
    def cut_off_end(store, choose):
        cut(data(store), used(data(store)) - choose.choice([1, 100, 4096, 20_000, choose.randrange(used(data(store)))]))

    @staticmethod
    def emptied_data_file(store, _):
        cut(data(store), 0)

    @staticmethod
    def missing_data_file(store, _):
        data(store).unlink()

    @staticmethod
    def emptied_folder(store, _):
        shutil.rmtree(store)
        store.mkdir(mode=0o700)

    @staticmethod
    def missing_folder(store, _):
        shutil.rmtree(store)

    @staticmethod
    def missing_marker(store, _):
        marker(store).unlink()

    @staticmethod
    def damaged_marker(store, choose):
        for _ in range(choose.randint(1, 3)):
            flip(marker(store), choose)

    @staticmethod
    def emptied_marker(store, _):
        cut(marker(store), 0)

    @staticmethod
    def damaged_sled_configuration(store, choose):
        flip(store / "conf", choose)

    @staticmethod
    def missing_sled_configuration(store, _):
        (store / "conf").unlink()

    @staticmethod
    def damaged_snapshot(store, choose):
        for snapshot in store.glob("snap.*"):
            flip(snapshot, choose)

    @staticmethod
    def unfinished_snapshot(store, choose):
        (store / f"snap.{choose.randrange(1 << 40):016X}.generating").write_bytes(choose.randbytes(choose.randrange(200)))

    @staticmethod
    def junk_snapshot(store, choose):
        (store / f"snap.{choose.randrange(1 << 40):016X}").write_bytes(choose.randbytes(choose.randrange(200)))

    KINDS = (
        "flipped_bit", "flipped_bit_at_the_beginning", "several_flipped_bits", "zeroed_range", "garbage_range", "cut_off_end",
        "emptied_data_file", "missing_data_file", "emptied_folder", "missing_folder", "missing_marker", "damaged_marker",
        "emptied_marker", "damaged_sled_configuration", "missing_sled_configuration", "damaged_snapshot",
        "unfinished_snapshot", "junk_snapshot", "yesterdays_folder",
    )  # fmt: skip
    # These hit another place each time.
    RANDOM = KINDS[:6]

    def test_a_damaged_store_is_refused_clearly_or_opens_with_nothing_that_had_ended(self):
        ledger = self.prepare()
        trials = rounds(40, 300)
        kinds = list(self.KINDS) + [self.RANDOM[n % len(self.RANDOM)] for n in range(trials - len(self.KINDS))]
        seen = collections.Counter()
        for seed, kind in enumerate(kinds):
            with self.subTest(kind=kind, seed=seed):
                try:
                    seen[kind, self.trial(ledger, kind, seed)] += 1
                finally:
                    self.gateway.kill()
        for (kind, outcome), count in sorted(seen.items()):
            print(f"  {kind}: {outcome}: {count}")

    def prepare(self):
        """A store with sessions that live and some that were logged out, closed and killed; and yesterday's copy of it."""
        ledger = Ledger()
        self.gateway.start()
        cookies = [ledger.log_in(self.gateway)[1] for _ in range(KEPT + ENDED)]
        for cookie in cookies[:4]:
            ledger.log_out(self.gateway, cookie)
        self.assertEqual(self.gateway.stop(), 0)
        self.yesterday = self.folder.path / "yesterday/sessions"
        copy_store(self.gateway.store, self.yesterday)
        self.gateway.start()
        for cookie in cookies[4:ENDED]:
            ledger.log_out(self.gateway, cookie)
        self.killed, self.closed = self.folder.path / "killed/sessions", self.folder.path / "closed/sessions"
        self.gateway.kill()
        copy_store(self.gateway.store, self.killed)
        self.gateway.start()
        self.assertEqual(self.gateway.stop(), 0)
        copy_store(self.gateway.store, self.closed)
        self.assertEqual((len(ledger.of("in")), len(ledger.of("out"))), (KEPT, ENDED))
        return ledger

    def put_back(self, source):
        shutil.rmtree(self.gateway.store.parent)
        copy_store(source, self.gateway.store)

    def trial(self, ledger, kind, seed):
        """Damages a copy and starts on it; gives in words what came of it."""
        choose = chooser(f"damage {kind} {seed}")
        self.put_back(choose.choice([self.killed, self.closed]))
        store = self.gateway.store
        if kind == "yesterdays_folder":
            shutil.rmtree(store)
            shutil.copytree(self.yesterday, store)
        else:
            getattr(self, kind)(store, choose)
        self.gateway.forget_log()
        outcome = self.gateway.try_to_start()
        said = self.gateway.said()
        self.assertNotIn("panicked", said, said[-2000:])
        if outcome is not True:
            self.assertNotEqual(outcome, 0, said)
            self.assertGreater(outcome, 0, f"killed by a signal\n{said}")
            lines = [line for line in said.splitlines() if line.startswith("fluidgate: ")]
            self.assertEqual(len(lines), 1, f"one clear line:\n{said}")
            return "refused to start"
        self.hold(ledger, kind, may_lose=True)
        explained = DISTRUST in said or QUARANTINE in said
        if ledger.lost:
            self.assertTrue(explained, f"{ledger.lost} sessions are gone without a word:\n{said}")
        # It works: a new login counts, also after one more start.
        outcome = f"started, {'all' if ledger.lost == KEPT else 'some' if ledger.lost else 'no'} sessions dropped{', and said so' if explained else ''}"
        cookie = self.log_in_and_restart(said)
        self.assertEqual(self.gateway.status(cookie), 200, f"a login after the damage was noticed is lost\n{self.gateway.said()}")
        self.hold(ledger, f"{kind}, later start", may_lose=True)
        return outcome

    def log_in_and_restart(self, said):
        """A login, a kill right after it, and a start; gives its cookie."""
        status, cookie, _ = self.gateway.log_in()
        self.assertEqual((status, self.gateway.status(cookie)), (303, 200), said)
        self.gateway.kill()
        self.assertIs(self.gateway.try_to_start(), True, self.gateway.said())
        return cookie

    def test_a_copy_of_store_and_marker_together_is_the_limit_of_what_can_be_noticed(self):
        """Whoever puts back both has put back the whole truth of that day: the page on sessions says to end everything then."""
        ledger = self.prepare()
        self.put_back(self.yesterday)
        self.gateway.forget_log()
        self.assertIs(self.gateway.try_to_start(), True)
        back = sum(self.gateway.status(cookie) == 200 for cookie in ledger.of("out"))
        self.assertEqual(back, ENDED - 4, "exactly those that were logged out after the copy are back")
        self.assertNotIn(DISTRUST, self.gateway.said())
