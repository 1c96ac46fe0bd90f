package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/twmb/franz-go/pkg/kfake"
)

// childArgument is the hidden first argument that makes a program an engine's child process. It is followed by the engine's name,
// the engine folder, "keep" or "remove" (what happens to the folder when the child ends) and, for ClickHouse, the path of the library or of a
// clickhouse binary. Nothing secret is in the argv.
const childArgument = "embedded-engine"

// RunChildIfAsked runs an engine and never returns if the program was started as an engine's child process. main calls it first.
func RunChildIfAsked() {
	if len(os.Args) < 5 || os.Args[1] != childArgument {
		return
	}
	if err := runChild(os.Args[2], os.Args[3], os.Args[5:]); err != nil {
		fmt.Fprintln(os.Stderr, time.Now().UTC().Format(time.RFC3339), err)
		os.Exit(1)
	}
	if os.Args[4] == "remove" {
		os.RemoveAll(os.Args[3])
	}
	os.Exit(0)
}

func runChild(engine, dir string, more []string) error {
	// The child ends when its standard input closes and not before: a Ctrl-C or a stop of the service goes to its parent,
	// which still needs it to drain.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	syscall.Umask(0o077) // the engines' own files are nobody else's either
	lock, err := tryLock(filepath.Join(dir, "child.lock"))
	if errors.Is(err, errLocked) {
		return fmt.Errorf("data folder %s is in use by another engine (pid %d)", dir, holder(filepath.Join(dir, "child.lock")))
	}
	if err != nil {
		return err
	}
	switch {
	case engine == "clickhouse" && len(more) == 2 && more[0] == "library":
		err = runLibrary(more[1], dir)
	case engine == "clickhouse" && len(more) == 2 && more[0] == "binary":
		err = execBinary(more[1], dir, lock)
	case engine == "kafka":
		err = runKafka(dir)
	default:
		err = fmt.Errorf("unknown engine %q %q", engine, more)
	}
	runtime.KeepAlive(lock)
	return err
}

// runLibrary runs ClickHouse from libchdb.so until standard input closes.
func runLibrary(library, dir string) error {
	s, err := readState(dir)
	if err != nil {
		return err
	}
	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", library, err)
	}
	var run func(argc int32, argv unsafe.Pointer) uintptr
	var failure func(result uintptr) string
	purego.RegisterLibFunc(&run, handle, "chdb_query_cmdline")
	purego.RegisterLibFunc(&failure, handle, "chdb_result_error")
	// ClickHouse's local mode aborts on what a server only logs: a connection of the native protocol that is refused (wrong
	// password, garbage) or reset between two queries ends in an exception that nobody catches. Its own handler would then refuse
	// queries for 4 s before it dies; without it the process is gone at once and back in 0.2 s, with all rows.
	var signals func(enabled bool)
	purego.RegisterLibFunc(&signals, handle, "chdb_set_signal_handlers_enabled")
	signals(false)

	var pinned runtime.Pinner
	defer pinned.Unpin()
	var argv []*byte
	for _, argument := range clickhouseArguments(dir, s) {
		text := append([]byte(argument), 0)
		pinned.Pin(&text[0])
		argv = append(argv, &text[0])
	}
	argc := len(argv)
	argv = append(argv, nil)
	pinned.Pin(&argv[0])
	result := run(int32(argc), unsafe.Pointer(&argv[0]))
	if result == 0 {
		return errors.New("run ClickHouse: the library gave no result")
	}
	if message := failure(result); message != "" {
		return fmt.Errorf("run ClickHouse: %s", message)
	}
	return nil
}

// execBinary turns this process into an installed ClickHouse of the same kind (`clickhouse local`, 26.7 or later: older ones cannot
// listen). The lock on the folder goes along.
func execBinary(binary, dir string, lock *lockFile) error {
	s, err := readState(dir)
	if err != nil {
		return err
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, lock.file.Fd(), syscall.F_SETFD, 0); errno != 0 {
		return fmt.Errorf("keep the folder's lock open: %w", errno)
	}
	arguments := append([]string{"clickhouse", "local"}, clickhouseArguments(dir, s)[1:]...)
	if err := syscall.Exec(binary, arguments, os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", binary, err)
	}
	return nil
}

// runKafka runs the broker until standard input closes. It says "ready" on standard output.
func runKafka(dir string) error {
	s, err := readState(dir)
	if err != nil {
		return err
	}
	cluster, err := kfake.NewCluster(
		kfake.Ports(s.Ports["kafka"]),
		kfake.ClusterID("ledgerline"),
		kfake.DataDir(filepath.Join(dir, "data")),
		kfake.SyncWrites(),
		kfake.EnableSASL(),
		kfake.Superuser("PLAIN", s.User, s.Password),
		kfake.Superuser("SCRAM-SHA-512", s.User, s.Password),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelError)),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "16777216"}),
	)
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	cluster.Close()
	return nil
}
