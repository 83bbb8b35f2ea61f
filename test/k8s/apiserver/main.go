// The admission chain of a Kubernetes API server, without the server: policies and webhooks are compiled, called and applied by
// Kubernetes' own code (k8s.io/apiserver). Reads one JSON document from standard input, writes one to standard output.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	registration "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	webhookinitializer "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/discovery"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/rest"
)

type input struct {
	// What was applied to the cluster: policies, bindings, parameters, namespaces, webhook configurations.
	Objects []json.RawMessage `json:"objects"`
	// Where the Services of webhooks really are, such as 127.0.0.1:8443, by name.
	Services map[string]string `json:"services"`
	Pods     []json.RawMessage `json:"pods"`
}

type output struct {
	// The pod that would be stored.
	Pod      *corev1.Pod `json:"pod,omitempty"`
	Refused  string      `json:"refused,omitempty"`
	Warnings []string    `json:"warnings,omitempty"`
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	check(err)
	var given input
	check(json.Unmarshal(text, &given))
	stop := make(chan struct{})
	defer close(stop)
	chain, interfaces := newChain(given, stop)
	results := make([]output, 0, len(given.Pods))
	for _, raw := range given.Pods {
		results = append(results, create(decode(raw).(*corev1.Pod), chain, interfaces))
	}
	check(json.NewEncoder(os.Stdout).Encode(results))
}

// The plugins in the order of kube-apiserver, made by the function that makes them there.
func newChain(given input, stop chan struct{}) (admission.Interface, admission.ObjectInterfaces) {
	objects := make([]runtime.Object, 0, len(given.Objects))
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, raw := range given.Objects {
		object := decode(raw)
		setDefaults(object)
		objects = append(objects, object)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)

	client := &clientset{fake.NewSimpleClientset(objects...)}
	shared := informers.NewSharedInformerFactory(client, 0)
	plugins := admission.NewPlugins()
	mutatingpolicy.Register(plugins)
	mutatingwebhook.Register(plugins)
	validatingpolicy.Register(plugins)
	chain, err := plugins.NewFromPlugins(
		[]string{mutatingpolicy.PluginName, mutatingwebhook.PluginName, validatingpolicy.PluginName},
		noConfiguration{},
		admission.PluginInitializers{
			webhookinitializer.NewPluginInitializer(authentication, resolver(given.Services)),
			initializer.New(client, dynamicfake.NewSimpleDynamicClient(scheme.Scheme), shared, everybody{},
				utilfeature.DefaultFeatureGate, compatibility.DefaultBuildEffectiveVersion(), stop, mapper),
		},
		nil,
	)
	check(err)
	shared.Start(stop)
	shared.WaitForCacheSync(stop)
	return chain, admission.NewObjectInterfacesFromScheme(scheme.Scheme)
}

// As the registry's create handler does: mutate, with a second round where it is asked for, then validate.
func create(pod *corev1.Pod, chain admission.Interface, interfaces admission.ObjectInterfaces) output {
	recorder := &warnings{}
	ctx := warning.WithWarningRecorder(context.Background(), recorder)
	attributes := attributesOf(pod)
	for deadline := time.Now().Add(20 * time.Second); ; attributes = attributesOf(pod) {
		err := chain.(admission.MutationInterface).Admit(ctx, attributes, interfaces)
		if err == nil {
			break
		}
		// The list of schemas is fetched beside, and nothing tells when it is there.
		if isEarly := strings.Contains(err.Error(), "Resource kind /v1, Kind=Pod not found"); !isEarly || time.Now().After(deadline) {
			return output{Refused: err.Error(), Warnings: recorder.texts}
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := chain.(admission.ValidationInterface).Validate(ctx, attributes, interfaces); err != nil {
		return output{Refused: err.Error(), Warnings: recorder.texts}
	}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	return output{Pod: pod, Warnings: recorder.texts}
}

func attributesOf(pod *corev1.Pod) admission.Attributes {
	return admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), pod.Namespace, pod.Name,
		corev1.SchemeGroupVersion.WithResource("pods"), "", admission.Create, &metav1.CreateOptions{}, false,
		&user.DefaultInfo{Name: "system:serviceaccount:kube-system:replicaset-controller"})
}

// Strict: a field that Kubernetes does not know is an error.
func decode(raw []byte) runtime.Object {
	codecs := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict)
	object, _, err := codecs.UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		check(fmt.Errorf("%w: %.200s", err, bytes.TrimSpace(raw)))
	}
	return object
}

// What the API server fills in when such an object is created (pkg/apis/admissionregistration/v1/defaults.go), as far as the
// plugins rely on it.
func setDefaults(object runtime.Object) {
	switch it := object.(type) {
	case *registration.MutatingAdmissionPolicy:
		fill(&it.Spec.MatchConstraints.NamespaceSelector, metav1.LabelSelector{})
		fill(&it.Spec.MatchConstraints.ObjectSelector, metav1.LabelSelector{})
		fill(&it.Spec.MatchConstraints.MatchPolicy, registration.Equivalent)
	case *registration.ValidatingAdmissionPolicy:
		fill(&it.Spec.MatchConstraints.NamespaceSelector, metav1.LabelSelector{})
		fill(&it.Spec.MatchConstraints.ObjectSelector, metav1.LabelSelector{})
		fill(&it.Spec.MatchConstraints.MatchPolicy, registration.Equivalent)
	case *registration.MutatingWebhookConfiguration:
		for at := range it.Webhooks {
			fill(&it.Webhooks[at].NamespaceSelector, metav1.LabelSelector{})
			fill(&it.Webhooks[at].ObjectSelector, metav1.LabelSelector{})
		}
	}
}

func fill[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type warnings struct{ texts []string }

func (w *warnings) AddWarning(_, text string) { w.texts = append(w.texts, text) }

type noConfiguration struct{}

func (noConfiguration) ConfigFor(string) (io.Reader, error) { return nil, nil }

type everybody struct{}

func (everybody) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionAllow, "", nil
}

type resolver map[string]string

func (r resolver) ResolveEndpoint(_, name string, _ int32) (*url.URL, error) {
	return &url.URL{Scheme: "https", Host: r[name]}, nil
}

func authentication(webhook.AuthenticationInfoResolver) webhook.AuthenticationInfoResolver {
	return &webhook.AuthenticationInfoResolverDelegator{
		ClientConfigForFunc:        func(string) (*rest.Config, error) { return &rest.Config{}, nil },
		ClientConfigForServiceFunc: func(string, string, int) (*rest.Config, error) { return &rest.Config{}, nil },
	}
}

// The fake client has no OpenAPI. A patch by JSONPatch asks only whether there is a schema of pods; that the result is a pod is
// seen when it is decoded, strictly.
type clientset struct{ *fake.Clientset }

func (c *clientset) Discovery() discovery.DiscoveryInterface {
	return withPods{c.Clientset.Discovery()}
}

type withPods struct{ discovery.DiscoveryInterface }

func (withPods) OpenAPIV3() openapi.Client { return podSchema{} }

type podSchema struct{}

func (podSchema) Paths() (map[string]openapi.GroupVersion, error) {
	return map[string]openapi.GroupVersion{"api/v1": podSchema{}}, nil
}

func (podSchema) ServerRelativeURL() string { return "/openapi/v3/api/v1" }

func (podSchema) Schema(string) ([]byte, error) {
	return []byte(`{"openapi": "3.0.0", "components": {"schemas": {"io.k8s.api.core.v1.Pod": {"type": "object",
		"x-kubernetes-preserve-unknown-fields": true,
		"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}]}}}}`), nil
}
