package simulate

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain plays the provider in a child process when a benchmark asks for it,
// so that the CPU of each side can be told apart.
func TestMain(m *testing.M) {
	if os.Getenv("SIMULATE_SERVE") == "" {
		os.Exit(m.Run())
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(ln.Addr())
	ctx, stop := context.WithCancel(context.Background())
	go func() { // ends with its parent
		os.Stdin.Read(make([]byte, 1))
		stop()
	}()
	New(Options{}).Serve(ctx, ln)
}

// BenchmarkCPU reports the CPU time of each side per call, from getrusage of
// two processes: µs-provider and µs-load.
func BenchmarkCPU(b *testing.B) {
	for _, c := range []struct {
		name    string
		call    Call
		headers string
		rate    float64
	}{
		{"chat", Call{Format: Chat, BodyBytes: 1600}, "Simulate-Answer-Bytes: 900\r\n", 0},
		{"chat dictated", Call{Format: Chat, BodyBytes: 1600}, "Simulate-Answer-Bytes: 900\r\nSimulate-Usage: in=4808,out=10\r\n", 0},
		{"messages", Call{Format: Messages, BodyBytes: 1600}, "Simulate-Answer-Bytes: 900\r\n", 0},
		{"stream of 50", Call{Format: Chat, Stream: true, IncludeUsage: true, BodyBytes: 1600}, "Simulate-Chunks: 50\r\n", 0},
		{"stream of 50 in one write", Call{Format: Chat, Stream: true, IncludeUsage: true, BodyBytes: 1600}, "Simulate-Chunks: 50\r\nSimulate-Write: 65536\r\n", 0},
		{"chat after 20ms", Call{Format: Chat, BodyBytes: 1600}, "Simulate-Latency: first=20ms\r\n", 500},
	} {
		b.Run(c.name, func(b *testing.B) {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "SIMULATE_SERVE=1")
			stdin, err := child.StdinPipe()
			if err != nil {
				b.Fatal(err)
			}
			stdout, err := child.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := child.Start(); err != nil {
				b.Fatal(err)
			}
			address, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				b.Fatal(err)
			}
			before := cpu(b)
			b.ResetTimer()
			r, err := Load(b.Context(), LoadOptions{
				Target: "http://" + strings.TrimSpace(address), Calls: []Call{c.call}, Concurrency: 32, Requests: b.N, Rate: c.rate,
				Headers: func(_ int, head []byte) []byte { return append(head, c.headers...) },
			})
			b.StopTimer()
			used := cpu(b) - before
			if err != nil || r.Answered != b.N {
				b.Fatalf("%+v, %v", r, err)
			}
			stdin.Close()
			child.Wait()
			served := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "µs-load")
			b.ReportMetric(float64(served.Microseconds())/float64(b.N), "µs-provider")
			b.ReportMetric(float64(r.Latency.At(0.5).Microseconds()), "µs-p50")
			b.ReportMetric(float64(r.Latency.At(0.99).Microseconds()), "µs-p99")
		})
	}
}

func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
