// A registry in memory that has the referrers API of OCI 1.1, on one loopback port: Debian's registry is older than
// that API, and signatures must be found both ways.
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: referrers-registry PORT")
	}
	server := &http.Server{
		Addr:              "127.0.0.1:" + os.Args[1],
		Handler:           registry.New(registry.WithReferrersSupport(true)),
		ReadHeaderTimeout: 5 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
