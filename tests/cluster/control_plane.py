"""The real control plane as four processes on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

Starting takes some eight seconds. Controllers stop before the API server and the API server before etcd:
the other way round each of them waits a minute for what is gone.
"""

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.cluster.api import Api
from tests.cluster.certificates import Authority, Certificate, write_signing_key

_BOOT_LIMIT = 50.0
_STOP_LIMIT = 8.0


@dataclass(frozen=True, slots=True)
class Binaries:
    etcd: Path
    apiserver: Path
    controller_manager: Path
    scheduler: Path


class ControlPlane:
    """A running cluster without nodes: `FakeKubelet` adds one."""

    def __init__(self, binaries: Binaries, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        etcd, etcd_peer, secure, controllers, scheduler = _free_ports(5)
        self.url = f"https://127.0.0.1:{secure}"
        self._etcd_ports = (etcd, etcd_peer)
        self._secure_port, self._controllers_port, self._scheduler_port = secure, controllers, scheduler
        self._admin_token = token_hex(16)
        self._authority = Authority(folder, "cluster-ca")
        self.ssl = ssl.create_default_context(cafile=str(self._authority.cert))
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    @property
    def ca_file(self) -> Path:
        return self._authority.cert

    def headers(self, token: str | None = None) -> dict[str, str]:
        """The cluster administrator's, unless another's token is given."""
        return {"Authorization": f"Bearer {token or self._admin_token}"}

    def api(self, token: str | None = None) -> Api:
        return Api(self.url, self.ssl, self.headers(token))

    def kubeconfig(self, user: str = "admin") -> Path:
        groups = ("system:masters",) if user == "admin" else ()
        return self.user_kubeconfig(user, groups)

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """For anybody: RBAC decides what the name and its groups may do."""
        identity = self._authority.client(name, groups)
        credentials = {"client-certificate-data": _encoded(identity.cert), "client-key-data": _encoded(identity.key)}
        return self._write_kubeconfig(identity.cert.stem, credentials)

    async def service_account_token(self, namespace: str, name: str) -> str:
        """A token as a pod of that service account would find it mounted."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        async with self.api() as api:
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            answer = await api.create(path, request)
        token: str = answer["status"]["token"]
        return token

    async def namespace(self, prefix: str = "test") -> str:
        """A fresh one, nobody else's. Never wait for one to be gone: it takes seconds."""
        name = f"{prefix}-{token_hex(4)}"
        async with self.api() as api:
            await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def kubelet_serving_certificate(self) -> Certificate:
        return self._authority.server("kubelet", "127.0.0.1", "localhost")

    def start(self) -> None:
        self._start_etcd()
        self._start_apiserver()
        self._start_controllers()
        self._wait_for("the scheduler", lambda: self._healthy(self._scheduler_port))
        self._wait_for("the controllers", lambda: self._healthy(self._controllers_port))
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_for("the first service account", lambda: self._asks(self._secure_port, account))

    def stop(self) -> None:
        """Newest first, so that nobody waits for one that is gone."""
        while self._running:
            _, process = self._running.pop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextmanager
    def held_controllers(self) -> Iterator[None]:
        """They stand still meanwhile: what is written is seen by no controller."""
        process = next(process for name, process in self._running if name == "kube-controller-manager")
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def log_of(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def _start_etcd(self) -> None:
        client, peer = self._etcd_ports
        self._spawn(
            "etcd",
            self._binaries.etcd,
            {
                "data-dir": str(self._folder / "etcd"),
                "listen-client-urls": f"http://127.0.0.1:{client}",
                "advertise-client-urls": f"http://127.0.0.1:{client}",
                "listen-peer-urls": f"http://127.0.0.1:{peer}",
                "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
                "initial-cluster": f"default=http://127.0.0.1:{peer}",
            }
            | ({"unsafe-no-fsync": "true"} if _knows_unsafe_no_fsync(self._binaries.etcd) else {}),
        )
        self._wait_for("etcd", lambda: _answers(http.client.HTTPConnection("127.0.0.1", client, timeout=2), "/health"))

    def _start_apiserver(self) -> None:
        serving = self._authority.server(
            "apiserver", "127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc", "kubernetes"
        )
        to_kubelets = self._authority.client("kube-apiserver-kubelet-client", ("system:masters",))
        front_proxy = self._authority.client("front-proxy-client")
        signing = write_signing_key(self._folder)
        tokens = self._folder / "tokens.csv"
        tokens.write_text(f'{self._admin_token},admin,admin,"system:masters"\n')
        ca = str(self._authority.cert)
        self._spawn(
            "kube-apiserver",
            self._binaries.apiserver,
            {
                "etcd-servers": f"http://127.0.0.1:{self._etcd_ports[0]}",
                "bind-address": "127.0.0.1",
                "secure-port": str(self._secure_port),
                "tls-cert-file": str(serving.cert),
                "tls-private-key-file": str(serving.key),
                "client-ca-file": ca,
                "token-auth-file": str(tokens),
                "authorization-mode": "RBAC",
                "allow-privileged": "true",
                "service-cluster-ip-range": "10.0.0.0/24",
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-key-file": str(signing.cert),
                "service-account-signing-key-file": str(signing.key),
                "kubelet-certificate-authority": ca,
                "kubelet-client-certificate": str(to_kubelets.cert),
                "kubelet-client-key": str(to_kubelets.key),
                "kubelet-preferred-address-types": "InternalIP",
                "requestheader-client-ca-file": ca,
                "requestheader-allowed-names": "front-proxy-client",
                "requestheader-username-headers": "X-Remote-User",
                "requestheader-group-headers": "X-Remote-Group",
                "requestheader-extra-headers-prefix": "X-Remote-Extra-",
                "proxy-client-cert-file": str(front_proxy.cert),
                "proxy-client-key-file": str(front_proxy.key),
            },
        )
        self._wait_for("the API server", lambda: self._asks(self._secure_port, "/readyz"))

    def _start_controllers(self) -> None:
        """Both at once: they only need the API server."""
        controllers = str(self.kubeconfig("system:kube-controller-manager"))
        scheduler = str(self.kubeconfig("system:kube-scheduler"))
        common = {"bind-address": "127.0.0.1", "leader-elect": "false"}
        serving = self._authority.server("controllers", "127.0.0.1")
        common |= {"tls-cert-file": str(serving.cert), "tls-private-key-file": str(serving.key)}
        self._spawn(
            "kube-controller-manager",
            self._binaries.controller_manager,
            common
            | {
                "secure-port": str(self._controllers_port),
                "kubeconfig": controllers,
                "authentication-kubeconfig": controllers,
                "authorization-kubeconfig": controllers,
                "service-account-private-key-file": str(self._folder / "service-account.key"),
                "root-ca-file": str(self._authority.cert),
                "use-service-account-credentials": "true",
            },
        )
        self._spawn(
            "kube-scheduler",
            self._binaries.scheduler,
            common
            | {
                "secure-port": str(self._scheduler_port),
                "kubeconfig": scheduler,
                "authentication-kubeconfig": scheduler,
                "authorization-kubeconfig": scheduler,
            },
        )

    def _spawn(self, name: str, binary: Path, flags: Mapping[str, str]) -> None:
        command = [str(binary), *(f"--{flag}={value}" for flag, value in flags.items())]
        if die_with_us := shutil.which("setpriv"):
            command = [die_with_us, "--pdeathsig", "KILL", *command]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder)
        self._running.append((name, process))

    def _wait_for(self, what: str, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _BOOT_LIMIT
        while not is_there():
            for name, process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log_of(name)}")
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{what} is not there after {_BOOT_LIMIT:.0f} s:\n{self.log_of(self._running[-1][0])}"
                )
            time.sleep(0.1)

    def _asks(self, port: int, path: str) -> bool:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=3, context=self.ssl)
        return _answers(connection, path, self.headers())

    def _healthy(self, port: int) -> bool:
        """Their /healthz is open to anybody."""
        return _answers(http.client.HTTPSConnection("127.0.0.1", port, timeout=3, context=self.ssl), "/healthz")

    def _write_kubeconfig(self, name: str, credentials: Mapping[str, str]) -> Path:
        cluster = {"server": self.url, "certificate-authority-data": _encoded(self._authority.cert)}
        content: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": dict(credentials)}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path = self._folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(content))
        return path


def _free_ports(count: int) -> list[int]:
    """Held together until all are known, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _knows_unsafe_no_fsync(etcd: Path) -> bool:
    answer = subprocess.run([etcd, "--help"], capture_output=True, text=True, check=False)
    return "unsafe-no-fsync" in answer.stdout + answer.stderr


def _answers(connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None) -> bool:
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        response.read()
        return response.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
