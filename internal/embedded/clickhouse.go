package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// database is the one that StartClickHouse makes: ENGINE = Atomic, since ClickHouse's own `default` is of another kind here.
const database = "ledgerline"

const attemptTimeout = 5 * time.Second // of one question whether the store is ready

// ClickHouseOptions say where and how the store runs.
type ClickHouseOptions struct {
	Dir         string   // engine folder; required
	CacheDir    string   // where the library is kept; empty: ledgerline in the user's cache folder
	Binary      string   // an installed `clickhouse` (26.7 or later) instead of the library
	MemoryLimit int64    // bytes, for the whole engine; 0: ClickHouse's own, 90 % of the machine
	Progress    Progress // told about the fetch of the library; may be nil
	Logger      *slog.Logger
	Command     []string // the program to run the child, which calls RunChildIfAsked; empty: this program itself
	RemoveDir   bool     // the child removes the engine folder when it ends; for tests
}

// ClickHouse is a running store. Its methods Done, Err, Pid, Restarts and Close are the child's.
type ClickHouse struct {
	*process
	state state
}

// StartClickHouse starts the store on the engine folder and returns when it answers and has the database `ledgerline`.
// ctx bounds the start only, which fetches the library the first time.
func StartClickHouse(ctx context.Context, o ClickHouseOptions) (*ClickHouse, error) {
	engine := []string{"library", ""}
	var err error
	if o.Binary != "" {
		engine = []string{"binary", o.Binary}
	} else if engine[1], err = Library(ctx, o.CacheDir, o.Progress); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the data folder %s: %w", o.Dir, err)
	}
	owner, err := claim(dir)
	if err != nil {
		return nil, err
	}
	s, err := openState(dir, "tcp", "http")
	if err == nil {
		err = writeClickHouseConfig(dir, s, o.MemoryLimit)
	}
	if err != nil {
		owner.release()
		return nil, err
	}
	command, err := childCommand(o.Command, "clickhouse", dir, o.RemoveDir, engine...)
	if err != nil {
		owner.release()
		return nil, err
	}
	c := &ClickHouse{state: s}
	c.process = &process{name: "clickhouse", dir: dir, command: command, log: o.Logger, owner: owner, ready: c.ready}
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *ClickHouse) Addr() string     { return loopback(c.state.Ports["tcp"]) }  // native protocol, host:port
func (c *ClickHouse) HTTPAddr() string { return loopback(c.state.Ports["http"]) } // host:port
func (c *ClickHouse) User() string     { return c.state.User }
func (c *ClickHouse) Password() string { return c.state.Password }
func (c *ClickHouse) Database() string { return database }

// ready returns when the store takes our own credentials, which no other program on that port would, and the database is there.
func (c *ClickHouse) ready(ctx context.Context, said <-chan string) error {
	for {
		attempt, done := context.WithTimeout(ctx, attemptTimeout)
		err := c.query(attempt, "CREATE DATABASE IF NOT EXISTS "+database+" ENGINE = Atomic")
		done()
		if err == nil {
			return nil
		}
		select {
		case _, alive := <-said:
			if !alive {
				return errors.New("the engine ended before it was ready")
			}
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// query runs one statement over HTTP; only used before any client is there.
func (c *ClickHouse) query(ctx context.Context, statement string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.HTTPAddr()+"/", strings.NewReader(statement))
	if err != nil {
		return err
	}
	request.SetBasicAuth(c.state.User, c.state.Password)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, oneLine(string(answer)))
	}
	return nil
}

// childCommand is the argv of an engine's child.
func childCommand(program []string, engine, dir string, remove bool, more ...string) ([]string, error) {
	if len(program) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program's own file: %w", err)
		}
		program = []string{self}
	}
	after := "keep"
	if remove {
		after = "remove"
	}
	command := append([]string{}, program...)
	command = append(command, childArgument, engine, dir, after)
	return append(command, more...), nil
}

// clickhouseArguments is the argv of ClickHouse's local mode with its listeners: it serves until its third statement has read standard input to the end.
// `default` is the user of these statements; see usersFile.
func clickhouseArguments(dir string, s state) []string {
	return []string{
		"clickhouse",
		"--path=" + filepath.Join(dir, "data"),
		"--config-file=" + filepath.Join(dir, "config.xml"),
		"--listen_host=127.0.0.1",
		"--tcp_port=" + strconv.Itoa(s.Ports["tcp"]),
		"--http_port=" + strconv.Itoa(s.Ports["http"]),
		"-q", "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT count() FROM file('/dev/stdin','LineAsString')",
	}
}

// writeClickHouseConfig writes the store's configuration for this start.
func writeClickHouseConfig(dir string, s state, memoryLimit int64) error {
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return fmt.Errorf("create the store's folder: %w", err)
	}
	if err := writePrivate(filepath.Join(dir, "users.xml"), usersFile(s)); err != nil {
		return err
	}
	return writePrivate(filepath.Join(dir, "config.xml"), configFile(dir, memoryLimit, runtime.NumCPU()))
}

// usersFile closes the store to everyone but the owner of the folder. ClickHouse's local mode runs its start-up statements as the
// user `default` without a password (it refuses to start otherwise) and has that same user open to every local user through both
// ports. So `default` may only do what the three start-up statements need, and its quota is used up by exactly these three. The
// quota's interval is the longest there is; it is counted from 1970 and turns in 2038.
func usersFile(s state) []byte {
	hash := sha256.Sum256([]byte(s.Password))
	return []byte(`<clickhouse>
  <profiles>
    <default/>
    <owner/>
  </profiles>
  <quotas>
    <default><interval><duration>2147483647</duration><queries>3</queries></interval></default>
    <owner/>
  </quotas>
  <users>
    <default>
      <no_password/>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT READ ON FILE</query>
        <query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
      </grants>
    </default>
    <` + s.User + `>
      <password_sha256_hex>` + hex.EncodeToString(hash[:]) + `</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>owner</profile>
      <quota>owner</quota>
      <grants><query>GRANT ALL ON *.*</query></grants>
    </` + s.User + `>
  </users>
</clickhouse>
`)
}

// configFile sizes the store for the machine it shares with the pipeline. The pool settings belong together: with a small pool,
// mutations and merges of whole partitions wait for ever for more free entries than the pool has. An insert is synced before it is
// acknowledged (a batch's row in `batches` must not outlive the batch's own rows in a power cut).
func configFile(dir string, memoryLimit int64, cores int) []byte {
	memory := ""
	if memoryLimit > 0 {
		memory = fmt.Sprintf("\n  <max_server_memory_usage>%d</max_server_memory_usage>", memoryLimit)
	}
	pool := min(max(cores, 2), 16)
	return fmt.Appendf(nil, `<clickhouse>
  <users_config>%s</users_config>
  <access_control_improvements><enable_read_write_grants>true</enable_read_write_grants></access_control_improvements>
  <log-level>warning</log-level>
  <logger><log>%s</log><size>16M</size><count>2</count></logger>%s
  <mark_cache_size>134217728</mark_cache_size>
  <max_concurrent_queries>200</max_concurrent_queries>
  <background_pool_size>%d</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_buffer_flush_schedule_pool_size>1</background_buffer_flush_schedule_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <background_message_broker_schedule_pool_size>1</background_message_broker_schedule_pool_size>
  <background_distributed_schedule_pool_size>2</background_distributed_schedule_pool_size>
  <merge_tree>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    <fsync_after_insert>1</fsync_after_insert>
    <fsync_part_directory>1</fsync_part_directory>
  </merge_tree>
</clickhouse>
`, xmlText(filepath.Join(dir, "users.xml")), xmlText(filepath.Join(dir, "clickhouse.log")), memory, pool)
}

var xmlText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
