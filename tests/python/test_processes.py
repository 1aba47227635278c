"""Jobs of several processes on one machine; what they run is in job_program.py.

On GPUs each device of a process is a GPU of its own; processes share GPUs where there are too few.
"""

import contextlib
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from devices import DEVICES, PLATFORM, cpu_only, device_mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from job import Job, run_job

import jaxmg

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout({"cpu": 300, "cuda": 600}[PLATFORM]),
]
gpu_only = pytest.mark.skipif(PLATFORM != "cuda", reason="about GPUs")

#: Seconds that ranks wait for others where they wait in vain; on GPUs programs take long to load.
PATIENCE = {"cpu": "4", "cuda": "30"}[PLATFORM]

SIZES = [(2, 1), (2, 2), (2, 4), (4, 1), (4, 2), (4, 4)]

FULL = "JAXMG_TEST_FULL" in os.environ
#: Hosts that the processes take themselves to be on, processes and devices of each. Where not
#: everything is tested, some.
HOSTS_OF_SIZES = [(2, 2, 1), (2, 4, 1)]
if FULL:
    HOSTS_OF_SIZES = [(hosts, *size) for size in SIZES for hosts in (2, 4) if hosts <= size[0]]
on_hosts = pytest.mark.parametrize("hosts", [1, 2])
on_hosts_if_full = pytest.mark.parametrize("hosts", [1, 2] if FULL else [1])


def left_behind():
    """Sockets of jobs that no process has, and files."""
    held = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # gone
            held.add(os.readlink(descriptor))
    lines = [line for line in Path("/proc/net/unix").read_text().splitlines() if "jaxmg-" in line]
    sockets = [line for line in lines if f"socket:[{line.split()[6]}]" not in held]
    return sockets, [name for name in os.listdir("/dev/shm") if "jaxmg" in name]


@pytest.fixture(autouse=True)
def enough_devices(request):
    """Skips a test whose processes need more GPUs than there are: one, where it does not say."""
    given = getattr(request.node, "callspec", None)
    needed = given.params.get("devices", 1) if given else 1
    if PLATFORM == "cuda" and needed > DEVICES:
        pytest.skip(f"needs {needed} GPUs, there are {DEVICES}")


@pytest.mark.parametrize(("processes", "devices"), SIZES)
def test_all_routines(processes, devices):
    run_job("all_routines", processes, devices)


@pytest.mark.parametrize(("hosts", "processes", "devices"), HOSTS_OF_SIZES)
def test_all_routines_on_several_hosts(hosts, processes, devices):
    run_job("all_routines", processes, devices, hosts=hosts)


@on_hosts
@pytest.mark.parametrize(
    ("processes", "devices"), [(2, 2), (4, 1)] if PLATFORM == "cpu" else [(2, 1), (2, 2)]
)
def test_arguments_and_transformations(processes, devices, hosts):
    names = "small_and_padded,local_mesh,local_meshes_at_once,sub_mesh,transformed"
    run_job(names, processes, devices, hosts=hosts)


@on_hosts
@pytest.mark.parametrize("devices", [1, 2])
def test_failures_are_told_to_all_and_the_next_call_works(devices, hosts):
    run_job("failures", 2, devices, hosts=hosts, timeout=PATIENCE)


@cpu_only
@on_hosts
def test_a_killed_process_is_named_and_leaves_nothing(hosts):
    run_job("killed", 2, 2, hosts=hosts, expected=[0, -signal.SIGKILL])
    assert left_behind() == ([], [])


@gpu_only
@on_hosts
@pytest.mark.parametrize("fault", ["late", "stall"])
def test_a_process_that_is_killed_while_others_wait_is_named(fault, hosts):
    run_job("killed_while_ranks_wait", 2, 1, fault, hosts=hosts, expected=[0, -signal.SIGKILL])
    assert left_behind() == ([], [])


@gpu_only
@on_hosts
def test_results_that_a_killed_process_owed_are_nan(hosts):
    killed = [0, -signal.SIGKILL]
    first = run_job("killed_after_return", 2, 1, hosts=hosts, expected=killed)[0]
    assert "which had returned and was under way" in first, first


@gpu_only
def test_gpus_of_one_host_by_nccl():
    run_job("all_routines,transformed", 2, 1, JAXMG_TEAM="nccl")


@gpu_only
def test_gpus_of_two_hosts_that_may_not_use_nccl():
    run_job("refused_without_nccl", 2, 1, hosts=2, JAXMG_TEAM="peer")


@gpu_only
@pytest.mark.parametrize(("processes", "devices"), [(2, 1), (2, 2), (4, 1)])
def test_cusolvermg(processes, devices):
    run_job("by_cusolvermg", processes, devices)


@gpu_only
def test_cusolvermg_where_each_buffer_is_an_allocation():
    run_job("by_cusolvermg", 2, 1, "float64", XLA_PYTHON_CLIENT_ALLOCATOR="platform")


@gpu_only
def test_cusolvermg_where_memory_cannot_be_shared():
    why = "unset XLA_PYTHON_CLIENT_ALLOCATOR"
    run_job("refused_by_cusolvermg", 2, 1, why, XLA_PYTHON_CLIENT_ALLOCATOR="cuda_async")


@gpu_only
def test_cusolvermg_on_two_hosts():
    run_job("refused_by_cusolvermg", 2, 1, "needs the GPUs of one host", hosts=2)


def test_two_jobs_at_once():
    jobs = [Job("transformed", 2, 1), Job("transformed", 2, 1, hosts=2)]
    for job in jobs:
        job.finish()


@on_hosts
def test_calls_leak_nothing(hosts):
    run_job("leak", 2, 1, 400, hosts=hosts)


@pytest.mark.skipif(not FULL, reason="takes ten minutes")
@pytest.mark.timeout(1800)
def test_many_calls_leak_nothing():
    run_job("leak", 2, 1, 20_000, seconds=1500)


@cpu_only
@on_hosts_if_full
def test_a_program_exported_by_one_process(tmp_path, hosts):
    pytest.importorskip("flatbuffers")
    mesh = device_mesh((2,))
    n = 24
    a = jax.ShapeDtypeStruct((n, n), np.float64, sharding=NamedSharding(mesh, P("x", None)))
    b = jax.ShapeDtypeStruct((n, 2), np.float64, sharding=NamedSharding(mesh, P()))
    solve = jax.jit(lambda a, b: jaxmg.potrs(a, b, 5, mesh, P("x", None)))
    ours = jax.export.DisabledSafetyCheck.custom_call("jaxmg_potrs")
    path = tmp_path / "program"
    path.write_bytes(jax.export.export(solve, disabled_checks=[ours])(a, b).serialize())
    run_job("exported", 2, 1, path, hosts=hosts)


@on_hosts_if_full
def test_a_program_compiled_by_another_job(tmp_path, hosts):
    run_job("cached", 2, 1, tmp_path, False, hosts=hosts)
    run_job("cached", 2, 1, tmp_path, True, hosts=hosts)
