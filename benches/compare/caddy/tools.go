//go:build tools

// Package caddy only names the program that ./scripts/bench builds.
package caddy

import _ "github.com/caddyserver/caddy/v2/cmd/caddy"
