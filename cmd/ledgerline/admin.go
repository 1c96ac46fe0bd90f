package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/api"
)

// adminFlags is the operator's listener of a process: metrics and profiles, for API keys with the operator scope.
type adminFlags struct{ listen string }

func (f *adminFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "admin", "127.0.0.1:4002", "address of /metrics and /debug/pprof, for API keys with the operator scope; empty: none")
}

// serve answers operators until ctx ends.
func (f *adminFlags) serve(ctx context.Context, data string, registry *prometheus.Registry, log *slog.Logger) error {
	if f.listen == "" {
		return nil
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	keys, err := openAPIKeys(data)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen for operators: %w", err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if key, ok := keys.Find(text); !ok || !key.Has(api.Operator) {
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "an API key with the operator scope is needed", http.StatusUnauthorized)
				return
			}
			mux.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	context.AfterFunc(ctx, func() { server.Close() })
	log.Info("metrics are served", "addr", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve operators: %w", err)
	}
	return nil
}
