package main

import (
	"strings"
	"testing"
)

func TestPrintTable(t *testing.T) {
	var b strings.Builder
	printTable(&b, []string{"team", "cost"}, [][]string{{"naïve", "1.5"}, {"a", "10.25"}}, 1)
	want := "" +
		"  team    cost\n" +
		"  ─────  ─────\n" +
		"  naïve    1.5\n" +
		"  a      10.25\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}
