"""The servers that are compared: where to find them, how they are started, what their acknowledgement means.

Every server runs on loopback, on a fresh directory, in a session of its own, with the settings given here and its
defaults otherwise. The command line and the configuration are recorded with the results.
"""
import os
import shutil
import signal
import socket
import subprocess
import time

import procs

FSYNC, CACHE, NONE = "after fsync", "page cache", "not stored"
START_S = 120
STOP_S = 60


class Unavailable(Exception):
    """The peer is not installed, or not compiled into bench-load."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, limit_s=START_S):
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError("the server did not listen in time")


class Server:
    """A running server."""
    live = []  # all that were not stopped: also those that were interrupted before they listened

    def __init__(self, peer, command, folder, env=None, port=None, stdout=None):
        self.peer, self.command, self.folder = peer, command, folder
        self.log = open(os.path.join(folder, "server.log"), "ab")
        self.warm = False
        self.started_ns = time.monotonic_ns()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout or self.log, stderr=self.log,
                                        env={**os.environ, **(env or {})}, cwd=folder, start_new_session=True)
        self.session = self.process.pid
        self.live.append(self)
        self.address = f"127.0.0.1:{port}" if port else None

    def usage(self):
        return procs.usage(self.session)

    def stop(self, how=signal.SIGTERM):
        """Ends it and all of its session. @return (seconds, totals of the whole life as the kernel counted them)"""
        start = time.monotonic()
        rusage = None
        if self in self.live:
            self.live.remove(self)
        if self.process.returncode is None:
            self._signal(how)
            until = start + STOP_S
            while rusage is None:
                pid, status, seen = os.wait4(self.process.pid, os.WNOHANG)
                if pid:
                    self.process.returncode = os.waitstatus_to_exitcode(status)
                    rusage = seen
                elif time.monotonic() > until:
                    self._signal(signal.SIGKILL)
                    until += STOP_S
                else:
                    time.sleep(0.002)
        took = time.monotonic() - start
        for pid in procs.session_pids(self.session):  # what it started and left behind
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.log.close()
        if self.process.stdout:
            self.process.stdout.close()
        totals = None
        if rusage:
            totals = {"cpu_s": rusage.ru_utime + rusage.ru_stime, "written": rusage.ru_oublock * 512}
        return took, totals

    def _signal(self, how):
        if how == signal.SIGKILL:
            for pid in procs.session_pids(self.session):
                try:
                    os.kill(pid, how)
                except OSError:
                    pass
        else:
            os.kill(self.process.pid, how)


class Peer:
    """One way to run one server. Subclasses say how."""
    driver = ""          # of bench-load
    more = ""            # options for that driver
    partitions = 1       # of a topic, unless the workload says
    window = 0           # messages of a connection without an answer, when it does better with fewer than the rest
    latency = ()         # arguments of bench-load latency, where a client does better with them
    slow_start = False   # seconds: then steps share a server where that changes nothing
    warm_s = 0           # load before anything is measured, for servers that compile while they run
    backlog_gb = 10      # what the backlog workload stores; less where everything is kept in memory

    def __init__(self, name, durability, env, **settings):
        self.name, self.durability, self.env, self.settings = name, durability, env, settings
        self.more = settings.pop("more", self.more)

    def check(self):
        """Raises Unavailable."""

    def version(self):
        return ""

    def start(self, folder, wide=False):
        """@param wide many connections are coming"""
        raise NotImplementedError

    def find(self, program, *places):
        for place in (*places, "/usr/sbin", "/usr/lib/rabbitmq/bin"):
            path = os.path.join(place, program)
            if os.access(path, os.X_OK):
                return path
        path = shutil.which(program)
        if not path:
            raise Unavailable(f"{program} not found; bench/peers/install gets it")
        return path

    def output(self, *command):
        r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        return r.stdout.decode(errors="replace").strip()


class Weir(Peer):
    driver, partitions = "weir", 8

    def version(self):
        return self.output(os.path.join(self.env.bin, "weir-server"), "--version").splitlines()[0]

    def start(self, folder, wide=False):
        command = [os.path.join(self.env.bin, "weir-server"), "--data", os.path.join(folder, "data"), "--listen",
                   "127.0.0.1:0", "--http", "", "--ready-fd", "1"]
        if wide:
            command += ["--max-connections", "20000"]
        for key, value in self.settings.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        s = Server(self, command, folder, stdout=subprocess.PIPE)
        line = s.process.stdout.readline().split()
        if len(line) < 2 or line[0] != b"READY":
            s.stop()
            raise RuntimeError("weir-server did not start")
        s.address = line[1].decode()
        return s


class Raw(Peer):
    """bench-raw-server: TCP receive, and in `log` append + fdatasync with group commit."""
    driver = "raw"

    def version(self):
        return "this repository"

    def start(self, folder, wide=False):
        command = [os.path.join(self.env.bin, "bench-raw-server"), self.settings["mode"]]
        if self.settings["mode"] != "sink":
            command.append(os.path.join(folder, "log"))
        s = Server(self, command, folder, stdout=subprocess.PIPE)
        line = s.process.stdout.readline().split()
        s.address = f"127.0.0.1:{line[1].decode()}"
        return s


class Redis(Peer):
    driver, backlog_gb = "redis", 1

    def check(self):
        self.find("redis-server")

    def version(self):
        return self.output(self.find("redis-server"), "--version")

    def start(self, folder, wide=False):
        port = free_port()
        command = [self.find("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "",
                   "--appendonly", "yes", "--appendfsync", self.settings["appendfsync"]]
        if wide:
            command += ["--maxclients", "15000"]
        s = Server(self, command, folder, port=port)
        wait_port(port, s.process)
        return s


class Nats(Peer):
    driver, window = "nats", 4096  # about what its clients take by default; its server refuses more when it is slow

    def _program(self):
        return self.find("nats-server", os.path.join(self.env.peers, "nats"))

    def check(self):
        self._program()

    def version(self):
        return self.output(self._program(), "--version")

    def start(self, folder, wide=False):
        port = free_port()
        config = os.path.join(folder, "nats.conf")
        sync = f"\n sync_interval: {self.settings['sync_interval']}" if "sync_interval" in self.settings else ""
        with open(config, "w", encoding="ascii") as f:
            f.write(f'listen: "127.0.0.1:{port}"\nmax_connections: 20000\n'
                    f'jetstream {{\n store_dir: "{folder}/store"\n max_file_store: 100GB\n max_mem: 1GB{sync}\n}}\n')
        s = Server(self, [self._program(), "-c", config], folder, port=port)
        wait_port(port, s.process)
        return s


class Rabbit(Peer):
    """One RabbitMQ node with its own epmd. `driver` says how it is spoken to: amqp (queues) or rmqstream."""
    slow_start = True

    def __init__(self, name, durability, env, driver, **settings):
        super().__init__(name, durability, env, **settings)
        self.driver = driver
        self.window = 8192 if driver == "amqp" else 0
        if driver == "rmqstream":  # a frame for each message makes its reader fall behind
            self.latency = ("--more", "linger_us=1000")
        self.backlog_gb = 10 if driver == "rmqstream" else 1

    def check(self):
        self.find("rabbitmq-server", "/usr/lib/rabbitmq/bin")
        self.find("epmd")

    def version(self):
        erlang = self.output("erl", "-noshell", "-eval",
                             'io:format("~s", [erlang:system_info(otp_release)]), halt().')
        text = self.output("dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server")
        return f"RabbitMQ {text}, Erlang {erlang}"

    def start(self, folder, wide=False):
        saved = os.path.join(folder, "ports")
        if not os.path.exists(saved):
            with open(saved, "w", encoding="ascii") as f:
                f.write(" ".join(str(free_port()) for _ in range(4)))
        with open(saved, encoding="ascii") as f:
            amqp, stream, dist, epmd = (int(x) for x in f.read().split())
        config = os.path.join(folder, "rabbitmq.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"listeners.tcp.1 = 127.0.0.1:{amqp}\nstream.listeners.tcp.1 = 127.0.0.1:{stream}\n"
                    "stream.advertised_host = 127.0.0.1\nlog.console = false\n")
        plugins = os.path.join(folder, "enabled_plugins")
        with open(plugins, "w", encoding="ascii") as f:
            f.write("[rabbitmq_stream].\n")
        env = {"RABBITMQ_NODENAME": f"weir-bench-{dist}@localhost", "RABBITMQ_CONFIG_FILE": config,
               "RABBITMQ_DIST_PORT": str(dist), "RABBITMQ_MNESIA_BASE": os.path.join(folder, "mnesia"),
               "RABBITMQ_LOG_BASE": os.path.join(folder, "log"), "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
               "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
               "ERL_EPMD_PORT": str(epmd), "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": folder}
        server = self.find("rabbitmq-server", "/usr/lib/rabbitmq/bin")
        command = ["/bin/sh", "-c", f"{self.find('epmd')} -port {epmd} & exec {server}"]
        s = Server(self, command, folder, env=env, port=stream if self.driver == "rmqstream" else amqp)
        wait_port(stream, s.process)
        wait_port(amqp, s.process)
        return s


class Beanstalkd(Peer):
    """-f MS syncs at most every MS milliseconds, 0 at every write."""
    driver, backlog_gb, window = "beanstalkd", 1, 1024

    def check(self):
        self.find("beanstalkd")

    def version(self):
        return self.output(self.find("beanstalkd"), "-v")

    def start(self, folder, wide=False):
        port = free_port()
        log = os.path.join(folder, "wal")
        os.makedirs(log, exist_ok=True)
        s = Server(self, [self.find("beanstalkd"), "-l", "127.0.0.1", "-p", str(port), "-b", log, "-z", "65535", "-f",
                          str(self.settings["sync_ms"])], folder, port=port)
        wait_port(port, s.process)
        return s


class Java(Peer):
    """A server from Maven artifacts in build/peers/NAME/libs. Gets some load before it is measured, as its code is
    compiled while it runs."""
    warm_s, slow_start = 8, True

    def libs(self):
        path = os.path.join(self.env.peers, self.driver, "libs")
        if not os.path.isdir(path):
            raise Unavailable(f"{path} is not there; bench/peers/install gets it")
        return path

    def check(self):
        self.find("java")
        self.libs()

    def jar(self, prefix):
        """Version in the name of an artifact."""
        names = [n for n in os.listdir(self.libs()) if n.startswith(prefix) and n.endswith(".jar")]
        return names[0][:-len(".jar")] if names else "?"


class Kafka(Java):
    """One node, KRaft, broker and controller in one process; the heap and collector of Kafka's own scripts."""
    driver, partitions = "kafka", 8

    def version(self):
        return self.jar("kafka_2.13-")

    def start(self, folder, wide=False):
        config = os.path.join(folder, "server.properties")
        fresh = not os.path.exists(config)
        if fresh:
            port, controller = free_port(), free_port()
            lines = {
                "process.roles": "broker,controller", "node.id": 1,
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}", "controller.listener.names": "CONTROLLER",
                "log.dirs": os.path.join(folder, "data"), "offsets.topic.replication.factor": 1,
                "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
                "share.coordinator.state.topic.replication.factor": 1, "share.coordinator.state.topic.min.isr": 1,
                "group.initial.rebalance.delay.ms": 0, **self.settings}
            with open(config, "w", encoding="ascii") as f:
                f.writelines(f"{k}={v}\n" for k, v in lines.items())
        else:
            with open(config, encoding="ascii") as f:
                port = int(next(l for l in f if l.startswith("advertised")).rsplit(":", 1)[1])
        java = [self.find("java"), "-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true", "-cp",
                os.path.join(self.libs(), "*")]
        if fresh:
            r = subprocess.run([*java, "kafka.tools.StorageTool", "format", "-t", "weir-bench-peers-0000A", "-c",
                                config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if r.returncode != 0:
                raise RuntimeError("kafka storage format: " + r.stdout.decode(errors="replace")[-300:])
        s = Server(self, [*java, "kafka.Kafka", config], folder, port=port)
        wait_port(port, s.process)
        return s


class RocketMq(Java):
    """A broker without a name server; clients are told its address. It may hand out more than 32 messages a pull, and
    lets a request wait for longer than 200 ms before it says that it is busy."""
    driver, partitions = "rocketmq", 8

    def version(self):
        return self.jar("rocketmq-broker-")

    def start(self, folder, wide=False):
        config = os.path.join(folder, "broker.conf")
        if not os.path.exists(config):
            port = free_port()
            store = os.path.join(folder, "store")
            transfer = {f"maxTransferCountOnMessageIn{where}": 1000 for where in ("Memory", "Disk")}
            transfer |= {f"maxTransferBytesOnMessageIn{where}": 1 << 20 for where in ("Memory", "Disk")}
            lines = {"brokerClusterName": "bench", "brokerName": "bench", "brokerId": 0, "brokerIP1": "127.0.0.1",
                     "listenPort": port, "haListenPort": free_port(), "storePathRootDir": store,
                     "storePathCommitLog": os.path.join(store, "commitlog"), "autoCreateTopicEnable": "true",
                     "namesrvAddr": "", "waitTimeMillsInSendQueue": 30000,
                     "waitTimeMillsInAckQueue": 30000, **transfer, **self.settings}
            with open(config, "w", encoding="ascii") as f:
                f.writelines(f"{k}={v}\n" for k, v in lines.items())
        with open(config, encoding="ascii") as f:
            port = int(next(l for l in f if l.startswith("listenPort")).split("=")[1])
        command = [self.find("java"), "-server", "-Xms2G", "-Xmx2G", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=4G",
                   "-XX:-UseBiasedLocking", "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
                   "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.nio=ALL-UNNAMED",
                   "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED",
                   f"-Drocketmq.home.dir={folder}", f"-Duser.home={folder}", "-cp", os.path.join(self.libs(), "*"),
                   "org.apache.rocketmq.broker.BrokerStartup", "-c", config]
        s = Server(self, command, folder, port=port)
        wait_port(port, s.process)
        return s


def all_peers(env):
    """In the order of the tables. @param env: .bin and .peers, folders with our programs and with installed peers"""
    return [
        Weir("weir", FSYNC, env),
        Weir("weir-os", CACHE, env, more="durability=os"),
        Raw("raw-log", FSYNC, env, mode="log"),
        Raw("raw-log-os", CACHE, env, mode="log-os"),
        Raw("raw-sink", NONE, env, mode="sink"),
        Redis("redis-always", FSYNC, env, appendfsync="always"),
        Redis("redis-everysec", CACHE, env, appendfsync="everysec"),
        Nats("nats-sync", FSYNC, env, sync_interval="always"),
        Nats("nats", CACHE, env),
        Rabbit("rabbitmq-quorum", FSYNC, env, "amqp", more="queue_type=quorum"),
        Rabbit("rabbitmq-stream", CACHE, env, "rmqstream"),
        Kafka("kafka-flush", FSYNC, env, **{"log.flush.interval.messages": 1}),
        Kafka("kafka", CACHE, env),
        RocketMq("rocketmq-sync", FSYNC, env, flushDiskType="SYNC_FLUSH"),
        RocketMq("rocketmq", CACHE, env),
        Beanstalkd("beanstalkd-f0", FSYNC, env, sync_ms=0),
        Beanstalkd("beanstalkd", CACHE, env, sync_ms=50),
    ]
