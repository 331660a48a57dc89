// An upstream on Go's net/http: says how it reads each request, as a line of JSON. Arguments: the port, the file of the lines.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
)

// The same shape for every reader: see readers.py.
type reading struct {
	ID      string              `json:"id"`
	Methods map[string]string   `json:"methods"`
	Target  string              `json:"target"`
	Paths   map[string]string   `json:"paths"`
	Hosts   map[string]string   `json:"hosts"`
	Fields  map[string][]string `json:"fields"`
	Body    string              `json:"body"`
}

// Every byte as the character of that number: JSON has no bytes.
func latin(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		out.WriteRune(rune(text[i]))
	}
	return out.String()
}

func addFields(to map[string][]string, header http.Header) {
	for name, values := range header {
		for _, value := range values {
			to[strings.ToLower(name)] = append(to[strings.ToLower(name)], latin(value))
		}
	}
}

func main() {
	out, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var one sync.Mutex
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, broken := io.ReadAll(r.Body)
		said := reading{
			ID:      r.Header.Get("X-Request-Id"),
			Methods: map[string]string{"Method": r.Method},
			Target:  latin(r.RequestURI),
			Paths:   map[string]string{"URL.Path": latin(r.URL.Path), "path.Clean": latin(path.Clean(r.URL.Path))},
			Hosts:   map[string]string{"Host": r.Host},
			Fields:  map[string][]string{},
			Body:    latin(string(body)),
		}
		// What some apps do with the target once more.
		if again, err := url.Parse(r.RequestURI); err == nil {
			said.Paths["url.Parse"] = latin(again.Path)
		}
		addFields(said.Fields, r.Header)
		addFields(said.Fields, r.Trailer)
		if broken != nil {
			said.Body = "broken off"
		}
		line, err := json.Marshal(said)
		if err != nil {
			log.Fatal(err)
		}
		one.Lock()
		_, err = out.Write(append(line, '\n'))
		one.Unlock()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(w, said.ID)
	}
	// A mux of its own would redirect what it cleans: the reading before that is the more dangerous one.
	log.Fatal(http.Serve(listener, http.HandlerFunc(answer)))
}
