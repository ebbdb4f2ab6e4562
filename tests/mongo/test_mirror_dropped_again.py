"""R1: a mirror that is dropped again right after it was made anew."""

from procs.config import Database
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer
from tests.mongo.sync_group import SyncGroup, sync_config
from tests.mongo.test_schedules import Converged


def test_r1_a_mirror_that_is_dropped_again_as_soon_as_it_is_there_comes_back_again(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
        for _ in range(3):
            target.drop()
            eventually(converged)
