// Says whether the manifests on standard input are what the kinds of their owners say, field by field: of
// prometheus-operator and of cert-manager, whose Go types are the kinds. Other kinds are passed over.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

type named struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func typeOf(object named) any {
	switch schema.FromAPIVersionAndKind(object.APIVersion, object.Kind) {
	case monitoring.SchemeGroupVersion.WithKind("ServiceMonitor"):
		return &monitoring.ServiceMonitor{}
	case monitoring.SchemeGroupVersion.WithKind("PrometheusRule"):
		return &monitoring.PrometheusRule{}
	case certmanager.SchemeGroupVersion.WithKind("Certificate"):
		return &certmanager.Certificate{}
	}
	return nil
}

func main() {
	reader := documents.NewYAMLReader(bufio.NewReader(os.Stdin))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		var object named
		if err == nil {
			err = yaml.Unmarshal(document, &object)
		}
		if known := typeOf(object); err == nil && known != nil {
			err = yaml.UnmarshalStrict(document, known)
			fmt.Println(object.Kind)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", object.Kind, err)
			os.Exit(1)
		}
	}
}
