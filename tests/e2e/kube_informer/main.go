// Follows the config maps of a namespace as a controller does, with client-go's informer, and prints what it is told: one
// line for each event, `add|update|delete NAME RESOURCE_VERSION`, and `synced` after the first list.
package main

import (
	"fmt"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func line(what string, object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	one := object.(*v1.ConfigMap)
	fmt.Println(what, one.Name, one.ResourceVersion)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "kube_informer URL TOKEN CA_FILE NAMESPACE")
		os.Exit(2)
	}
	config := &rest.Config{Host: os.Args[1], BearerToken: os.Args[2], TLSClientConfig: rest.TLSClientConfig{CAFile: os.Args[3]}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, time.Hour, informers.WithNamespace(os.Args[4]))
	informer := factory.Core().V1().ConfigMaps().Informer()
	// An update that comes from a resync of the informer's own cache changes nothing.
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { line("add", object) },
		UpdateFunc: func(before, after any) {
			if before.(*v1.ConfigMap).ResourceVersion != after.(*v1.ConfigMap).ResourceVersion {
				line("update", after)
			}
		},
		DeleteFunc: func(object any) { line("delete", object) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	forever := make(chan struct{})
	factory.Start(forever)
	factory.WaitForCacheSync(forever)
	fmt.Println("synced")
	<-forever
}
