"""The chief of a search on several machines: KerasTuner's service, until every trial has ended.

The service itself is KerasTuner's, though not a public name. KerasTuner's own function to start it isn't used, because
it waits forever for a worker that died.
"""

import time
from concurrent import futures

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from clan_tf.errors import UserError
from clan_tf.progress import Progress
from clan_tf.search.directory import SearchDirectory
from clan_tf.search.oracles import DurableOracle
from clan_tf.search.standing import standing

LEASE_SECONDS = 30.0
"""How long a worker may be silent before its trial is handed to another, in seconds."""


def serve(oracle: DurableOracle, address: str, directory: SearchDirectory, epochs: int, progress: Progress) -> None:
    """Hands out trials to workers until all trials have ended and every worker has been notified or is dead.

    Raises:
        UserError: if the address can't be used.
    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise UserError(f"--chief: {address} can't be used: the port is in use, or the address isn't local.") from error
    server.start()
    progress.note(f"waiting for workers: the same command with --role worker --chief {address}")
    ended = len(oracle.end_order)
    try:
        while oracle.forget_silent_workers() or not oracle.is_over:
            time.sleep(0.2)
            if len(oracle.end_order) > ended:
                ended = len(oracle.end_order)
                progress.note(standing(directory, oracle.search, epochs))
    finally:
        server.stop(grace=1).wait()
