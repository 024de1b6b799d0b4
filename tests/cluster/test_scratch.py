from pathlib import Path

from rasterloom.cluster.scratch import scratch_folder


def test_a_task_has_its_workers_folder_and_no_other_process_has_one(pair):
    assert scratch_folder() is None
    tasks = {pair.submit(scratch_folder, pure=False).result() for _ in range(4)}
    assert tasks <= set(pair.run(lambda dask_worker: dask_worker.local_directory).values())
    assert all(Path(folder).is_dir() for folder in tasks)
