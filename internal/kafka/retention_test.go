package kafka

import (
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// kafka-go has no DeleteRecords (API key 21): the tests use it to do at once what retention does in days.
type deleteRecordsRequest struct {
	Topics    []deleteRecordsTopic `kafka:"min=v0,max=v1"`
	TimeoutMs int32                `kafka:"min=v0,max=v1"`
}

type deleteRecordsTopic struct {
	Name       string                   `kafka:"min=v0,max=v1"`
	Partitions []deleteRecordsPartition `kafka:"min=v0,max=v1"`
}

type deleteRecordsPartition struct {
	Index  int32 `kafka:"min=v0,max=v1"`
	Offset int64 `kafka:"min=v0,max=v1"`
}

type deleteRecordsResponse struct {
	ThrottleMs int32 `kafka:"min=v0,max=v1"`
	Topics     []struct {
		Name       string `kafka:"min=v0,max=v1"`
		Partitions []struct {
			Index        int32 `kafka:"min=v0,max=v1"`
			LowWatermark int64 `kafka:"min=v0,max=v1"`
			ErrorCode    int16 `kafka:"min=v0,max=v1"`
		} `kafka:"min=v0,max=v1"`
	} `kafka:"min=v0,max=v1"`
}

func (*deleteRecordsRequest) ApiKey() protocol.ApiKey  { return protocol.DeleteRecords }
func (*deleteRecordsResponse) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// Broker sends the request to the partition's leader.
func (r *deleteRecordsRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return cluster.Brokers[cluster.Topics[r.Topics[0].Name].Partitions[r.Topics[0].Partitions[0].Index].Leader], nil
}

func init() { protocol.Register(&deleteRecordsRequest{}, &deleteRecordsResponse{}) }

// deleteRecords removes what is before offset in partition 0.
func deleteRecords(t *testing.T, c Config, topic string, offset int64) {
	t.Helper()
	client, transport, err := c.client(topic)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(t.Context(), client.Addr, &deleteRecordsRequest{
		Topics: []deleteRecordsTopic{{topic, []deleteRecordsPartition{{0, offset}}}}, TimeoutMs: 10_000,
	})
	if err != nil {
		t.Fatalf("delete records: %v", err)
	}
	if code := answer.(*deleteRecordsResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatalf("delete records: %v", kafkago.Error(code))
	}
}
