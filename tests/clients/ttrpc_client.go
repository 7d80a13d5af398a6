// A client of the socket made of containerd's ttrpc for Go and the .proto files alone.
//
//	ttrpc_client SOCKET DESCRIPTOR-SET SERVICE METHOD REQUEST-AS-JSON
//
// Prints the answer as JSON, or "error CODE: MESSAGE" and ends with 1.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// What both of ttrpc's codecs take: that of 1.1 (gogo) wants Marshal, that of 1.2 ProtoReflect.
type message struct{ *dynamicpb.Message }

func (m message) ProtoMessage()               {}
func (m message) Reset()                      { proto.Reset(m.Message) }
func (m message) Marshal() ([]byte, error)    { return proto.Marshal(m.Message) }
func (m message) Unmarshal(data []byte) error { return proto.Unmarshal(data, m.Message) }

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(2)
}

func findMethod(path, service, name string) protoreflect.MethodDescriptor {
	data, err := os.ReadFile(path)
	if err != nil {
		fail("descriptor set", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil {
		fail("descriptor set", err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		fail("descriptor set", err)
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		fail(service+"."+name, err)
	}
	return found.(protoreflect.MethodDescriptor)
}

func main() {
	socket, service, name := os.Args[1], os.Args[3], os.Args[4]
	method := findMethod(os.Args[2], service, name)
	request := message{dynamicpb.NewMessage(method.Input())}
	if err := protojson.Unmarshal([]byte(os.Args[5]), request.Message); err != nil {
		fail("request", err)
	}
	connection, err := net.Dial("unix", socket)
	if err != nil {
		fail("connect", err)
	}
	client := ttrpc.NewClient(connection)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	response := message{dynamicpb.NewMessage(method.Output())}
	if err := client.Call(ctx, service, name, request, response); err != nil {
		if refused, ok := status.FromError(err); ok {
			fmt.Printf("error %s: %s\n", refused.Code(), refused.Message())
			os.Exit(1)
		}
		fail("call", err)
	}
	out, err := protojson.Marshal(response.Message)
	if err != nil {
		fail("answer", err)
	}
	fmt.Println(string(out))
}
