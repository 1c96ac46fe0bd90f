# A real Apache Kafka (one node, KRaft) from its jars, for tests: sourced by run.
kafka_version=4.3.1
kafka_jars=${XDG_CACHE_HOME:-$HOME/.cache}/ledgerline/kafka-$kafka_version

kafka_install() { # fetches the jars once, with Maven
  [ -f "$kafka_jars/.complete" ] && return
  rm -rf "$kafka_jars" && mkdir -p "$kafka_jars"
  mvn -q -B -f "$here/kafka-pom.xml" dependency:copy-dependencies -Dkafka.version=$kafka_version -DoutputDirectory="$kafka_jars" &&
    touch "$kafka_jars/.complete"
}

kafka_start() { # FOLDER PORT CONTROLLER_PORT: sets kafka_pid, returns when the broker answers
  local dir=$1 port=$2 controller=$3
  mkdir -p "$dir"
  cat >"$dir/server.properties" <<C
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:$controller
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
C
  java -cp "$kafka_jars/*" kafka.tools.StorageTool format -t bGVkZ2VybGluZS1jaS0wMQ -c "$dir/server.properties" --ignore-formatted || return 1
  java -Xmx512m -XX:+UseSerialGC -cp "$kafka_jars/*" kafka.Kafka "$dir/server.properties" >"$dir/kafka.log" 2>&1 </dev/null &
  kafka_pid=$!
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    kill -0 $kafka_pid 2>/dev/null || break
    sleep 0.2
  done
  tail -20 "$dir/kafka.log"
  return 1
}
