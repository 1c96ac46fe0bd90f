//go:build !linux

package main

func releaseStartup() error { return nil }
