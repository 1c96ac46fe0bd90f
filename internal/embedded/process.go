package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyTimeout = 5 * time.Minute        // a store with many parts needs time; a child that ends says so at once
	closeTimeout = 20 * time.Second       // a clean stop takes 1 to 6 s
	orphanGrace  = 2 * time.Second        // what a child of a killed parent gets to end by itself
	steadyAfter  = 10 * time.Second       // a child that lived so long is started again at once when it dies
	firstBackoff = 100 * time.Millisecond // before the second restart in a row
	maxBackoff   = 5 * time.Second
	maxFailures  = 6 // starts in a row that end before the engine is ready; then the engine is given up
	logKeep      = 16 << 20
)

// process is an engine's child process: started, watched, started again when it dies, ended by closing its standard input.
type process struct {
	name    string   // for logs and errors: "clickhouse", "kafka"
	dir     string   // the engine folder
	command []string // the child's argv
	log     *slog.Logger
	// ready returns nil when the engine answers. said gets the lines of the child's standard output and is closed when the child ends.
	ready func(ctx context.Context, said <-chan string) error

	owner *lockFile
	stop  context.CancelFunc
	done  chan struct{}

	mu       sync.Mutex
	cmd      *exec.Cmd
	stdin    io.Closer
	closing  bool
	err      error
	restarts int
}

// claim takes the engine folder for this process. A child left by a killed parent gets a moment to end, then it is killed:
// what it acknowledged is on disk.
func claim(dir string) (*lockFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	ownerPath := filepath.Join(dir, "owner.lock")
	owner, err := tryLock(ownerPath)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("data folder %s %w (pid %d)", dir, ErrInUse, holder(ownerPath))
	}
	if err != nil {
		return nil, err
	}
	childPath := filepath.Join(dir, "child.lock")
	deadline := time.Now().Add(orphanGrace)
	for killed := false; ; time.Sleep(20 * time.Millisecond) {
		child, err := tryLock(childPath)
		if err == nil {
			child.release()
			return owner, nil
		}
		if !errors.Is(err, errLocked) {
			owner.release()
			return nil, err
		}
		switch {
		case time.Now().Before(deadline):
		case !killed:
			if pid := holder(childPath); pid != 0 {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			killed, deadline = true, time.Now().Add(10*time.Second)
		default:
			owner.release()
			return nil, fmt.Errorf("data folder %s is in use by an engine that does not end (pid %d)", dir, holder(childPath))
		}
	}
}

// start starts the child and returns when it is ready. The process owns the owner lock from here on. ctx bounds the start only.
func (p *process) start(ctx context.Context) error {
	p.done = make(chan struct{})
	ended, err := p.spawn(ctx)
	if err != nil {
		p.owner.release()
		return err
	}
	watchContext, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.watch(watchContext, ended)
	return nil
}

// spawn starts one child and waits until it is ready. The returned channel is closed when the child has ended.
func (p *process) spawn(ctx context.Context) (<-chan struct{}, error) {
	logPath := filepath.Join(p.dir, "engine.log")
	if info, err := os.Stat(logPath); err == nil && info.Size() > logKeep {
		os.Rename(logPath, logPath+".old")
	}
	stderr, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	defer stderr.Close()
	before, _ := stderr.Seek(0, io.SeekEnd)

	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Stderr = stderr // a file, not a pipe: the child outlives its parent by a moment and must not die of a broken pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	began := time.Now()
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		return nil, errors.New("engine is being closed")
	}
	if err := cmd.Start(); err != nil {
		p.mu.Unlock()
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.stdin = cmd, stdin
	p.mu.Unlock()

	readyContext, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	said := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			select {
			case said <- lines.Text():
			default: // nobody waits for more than the first line
			}
		}
		close(said)
		io.Copy(io.Discard, stdout) // after a line too long
		cmd.Wait()
		close(ended)
	}()
	if err = p.ready(readyContext, said); err == nil {
		p.log.Info("engine is ready", "engine", p.name, "pid", cmd.Process.Pid, "took", time.Since(began).Round(time.Millisecond))
		return ended, nil
	}
	cmd.Process.Kill()
	<-ended
	if last := tail(logPath, before); last != "" {
		return nil, fmt.Errorf("start %s: %w; it said: %s", p.name, err, last)
	}
	return nil, fmt.Errorf("start %s: %w (%s)", p.name, err, cmd.ProcessState)
}

// watch starts the child again whenever it dies, until the engine is closed or given up.
func (p *process) watch(ctx context.Context, ended <-chan struct{}) {
	defer close(p.done)
	defer p.owner.release()
	var backoff time.Duration // the first restart is at once: most deaths are one-off
	failures, up := 0, time.Now()
	for {
		if ended != nil {
			<-ended
		}
		p.mu.Lock()
		closing, state := p.closing, p.cmd.ProcessState
		p.mu.Unlock()
		if closing {
			if !state.Success() {
				p.log.Warn("engine did not end cleanly", "engine", p.name, "state", state.String())
			}
			return
		}
		if ended != nil {
			p.log.Error("engine died, starting it again", "engine", p.name, "state", state.String(), "after", time.Since(up).Round(time.Millisecond))
			if time.Since(up) > steadyAfter {
				backoff = 0
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(max(2*backoff, firstBackoff), maxBackoff)
		var err error
		ended, err = p.spawn(ctx)
		if err != nil {
			ended = nil
			if failures++; failures < maxFailures && ctx.Err() == nil {
				p.log.Error("engine did not come back", "engine", p.name, "try", failures, "error", err)
				continue
			}
			p.mu.Lock()
			if !p.closing {
				p.err = fmt.Errorf("engine given up after %d tries: %w", failures, err)
			}
			p.mu.Unlock()
			return
		}
		failures, up = 0, time.Now()
		p.mu.Lock()
		p.restarts++
		p.mu.Unlock()
	}
}

// Done is closed when the engine is gone for good: closed, or given up after several restarts failed. Whoever started the engine
// ends then, with Err, instead of running on without it.
func (p *process) Done() <-chan struct{} { return p.done }

// Err says why the engine was given up; nil while it lives and after a Close.
func (p *process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Pid is the process id of the child that runs now; it changes when the child is started again.
func (p *process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Restarts counts how often the child died and was brought back.
func (p *process) Restarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts
}

// Close ends the engine: it closes the child's standard input, waits for a clean end, and kills the child if that takes over 20 s.
// Close clients first; with an idle connection ClickHouse takes 6 s.
func (p *process) Close() error {
	p.mu.Lock()
	first := !p.closing
	p.closing = true
	cmd := p.cmd
	p.mu.Unlock()
	if first {
		p.stdin.Close()
		p.stop()
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(closeTimeout):
	}
	cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("close %s: it did not end within %s and was killed", p.name, closeTimeout)
}

// tail returns the last lines that were added to the file at path after offset, joined to one line.
func tail(path string, offset int64) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	offset = max(offset, info.Size()-2000)
	text := make([]byte, max(0, info.Size()-offset))
	n, _ := file.ReadAt(text, offset)
	return strings.Join(strings.Fields(string(text[:n])), " ")
}
