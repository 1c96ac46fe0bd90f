package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// logFlags choose how a process logs: text for a person at a terminal, JSON otherwise.
type logFlags struct {
	format string
	level  slog.Level
}

func (f *logFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "log", "", "log format: text or json (default: text on a terminal, json otherwise)")
	cmd.Flags().TextVar(&f.level, "log-level", slog.LevelInfo, "lowest level logged: debug, info, warn or error")
}

func (f *logFlags) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: f.level}
	if f.format == "text" || f.format == "" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
