package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// releaseStartup lets go of the pages of this program's file that start-up has
// brought in: the tables and initialisers of all its commands, of which the
// page cache may map 2 MiB at a time (measured: 57 to 66 MiB resident in a
// proxy of 17 MiB of its own; 53 to 58 with this). What is needed again comes back
// from the page cache. Only mappings that cannot be written are touched: they
// are the file's bytes whatever happens.
func releaseStartup() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read this process's mappings: %w", err)
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uintptr
		var mode string
		line := lines.Text() // from-to mode offset device inode file
		if !strings.HasSuffix(line, " "+self) {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			return fmt.Errorf("read this process's mappings: %w", err)
		}
		if mode != "r-xp" && mode != "r--p" {
			continue
		}
		if _, _, failed := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); failed != 0 {
			return fmt.Errorf("release the pages of start-up: %w", failed)
		}
	}
	return lines.Err()
}
