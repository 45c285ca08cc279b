from pathlib import Path

from backstay.sandbox.node.record import Record, records


def record(name: str) -> Record:
    return Record(
        name=name,
        address="198.18.0.2",
        kubeconfig="/d/kubeconfig",
        manifests="/d/manifests",
        containerd_socket="/d/containerd.sock",
        kubelet_root="/d/kubelet",
        pod_logs="/d/pods",
        pid_file="/d/pid",
        link="bsnode0",
        cgroup="backstay-node-0",
    )


def test_records_are_the_same_when_they_are_read_again(tmp_path: Path):
    for name in ("node-2", "node-1"):
        data = tmp_path / "data" / "nodes" / name
        data.mkdir(parents=True)
        record(name).save(data)

    assert records(tmp_path) == (record("node-1"), record("node-2"))


def test_there_are_no_records_when_there_is_no_sandbox(tmp_path: Path):
    assert records(tmp_path / "absent") == ()
