//go:build tools

// Package h2spec only names the program that ./scripts/test builds.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
