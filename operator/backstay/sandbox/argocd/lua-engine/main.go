// Command lua-engine runs scripts as Argo CD does: with its own engine, and without the standard libraries.
//
// Each line of its input is one call, each line of its output the answer.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type call struct {
	Kind   string         `json:"kind"`
	Script string         `json:"script"`
	Object map[string]any `json:"object"`
}

type answer struct {
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

func run(one call) (any, error) {
	vm := lua.VM{UseOpenLibs: false}
	object := &unstructured.Unstructured{Object: one.Object}
	switch one.Kind {
	case "health":
		return vm.ExecuteHealthLua(object, one.Script)
	case "discovery":
		return vm.ExecuteResourceActionDiscovery(object, []string{one.Script})
	case "action":
		impacted, err := vm.ExecuteResourceAction(object, one.Script, nil)
		if err != nil || len(impacted) != 1 {
			return nil, fmt.Errorf("%d resources would change: %v", len(impacted), err)
		}
		return impacted[0].UnstructuredObj.Object, nil
	}
	return nil, fmt.Errorf("kind %q is not health, discovery or action", one.Kind)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for out := json.NewEncoder(os.Stdout); lines.Scan(); {
		var one call
		var said answer
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			said.Error = err.Error()
		} else if result, err := run(one); err != nil {
			said.Error = err.Error()
		} else {
			said.Result = result
		}
		if err := out.Encode(said); err != nil {
			panic(err)
		}
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
}
