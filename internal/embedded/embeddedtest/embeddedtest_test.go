package embeddedtest

import "testing"

// Every caller gets an empty database of its own on one shared store.
func TestClickHouseGivesFreshDatabases(t *testing.T) {
	one, two := ClickHouse(t), ClickHouse(t)
	if one.Database == two.Database || one.Addr != two.Addr {
		t.Fatalf("got %v and %v, want two databases on one store", one, two)
	}
	for _, target := range []ClickHouseTarget{one, two} {
		if err := execute(target, "CREATE TABLE "+target.Database+".t (a UInt64) ENGINE = MergeTree ORDER BY a"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKafkaIsShared(t *testing.T) {
	one, two := Kafka(t), Kafka(t)
	if one.Brokers[0] != two.Brokers[0] {
		t.Fatalf("got %v and %v, want one broker", one, two)
	}
}
