package embedded_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// nativeHello says hello to a store over its native protocol (client hello: packet 0, name, version, database, user, password) and returns "hello"
// or the text of the exception (packet 2) that it got. A store that is just being started again is asked again.
func nativeHello(t *testing.T, addr, user, password string) string {
	t.Helper()
	hello := []byte{0}
	text := func(s string) { hello = append(binary.AppendUvarint(hello, uint64(len(s))), s...) }
	text("test")
	for _, number := range []uint64{1, 1, 54448} {
		hello = binary.AppendUvarint(hello, number)
	}
	for _, s := range []string{"", user, password} {
		text(s)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer, err := exchange(addr, hello)
		if err == nil {
			return answer
		}
		if time.Now().After(deadline) {
			t.Fatalf("the store did not answer user %s: %v", user, err)
		}
	}
}

func exchange(addr string, hello []byte) (string, error) {
	connection, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if _, err := connection.Write(hello); err != nil {
		return "", err
	}
	connection.SetReadDeadline(time.Now().Add(20 * time.Second))
	kind := make([]byte, 1)
	if _, err := io.ReadFull(connection, kind); err != nil {
		return "", err
	}
	if kind[0] != 2 {
		return "hello", nil
	}
	exception, _ := io.ReadAll(connection) // it ends with a reset when the store aborts
	return "Exception " + string(exception), nil
}
