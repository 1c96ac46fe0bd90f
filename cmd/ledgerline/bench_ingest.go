package main

import "github.com/spf13/cobra"

func benchIngestCommand() *cobra.Command { return &cobra.Command{Use: "ingest"} }
