//go:build tools

// Package oauth2proxy only names the program that ./scripts/bench builds.
package oauth2proxy

import _ "github.com/oauth2-proxy/oauth2-proxy/v7"
