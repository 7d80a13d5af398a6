// A function, and a program, in Go: goroutines on several threads, timers, the collector, preemption by signals.
package main

/*
#include <stdlib.h>

#include "spore/function.h"

static int answer(struct spore_response* response, const char* json, size_t length) {
  return spore_set_result(response, json, length);
}
static int fail(struct spore_response* response, const char* message) {
  return spore_set_error(response, "CountError", message);
}
*/
import "C"

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

type answer struct {
	Sum        int    `json:"sum"`
	Collected  bool   `json:"collected"`
	Ticks      int    `json:"ticks"`
	Random     string `json:"random"`
	Goroutines int    `json:"goroutines"`
}

func count(upTo int) answer {
	var group sync.WaitGroup
	sums := make(chan int, 16)
	for i := 0; i < 16; i++ {
		group.Add(1)
		go func(first int) {
			defer group.Done()
			sum := 0
			for n := first; n <= upTo; n += 16 {
				sum += n // long enough without a call to be preempted
			}
			sums <- sum
		}(i)
	}
	group.Wait()
	close(sums)
	found := answer{Goroutines: runtime.NumGoroutine()}
	for sum := range sums {
		found.Sum += sum
	}
	for i := 0; i < 200; i++ {
		_ = make([]byte, 1<<20)
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	found.Collected = memory.NumGC > 0 && memory.HeapAlloc < 100<<20
	ticker := time.NewTicker(time.Millisecond)
	for range ticker.C {
		if found.Ticks++; found.Ticks == 3 {
			break
		}
	}
	bytes := make([]byte, 16)
	if _, err := rand.Read(bytes); err == nil {
		found.Random = hex.EncodeToString(bytes)
	}
	return found
}

//export handle
func handle(context *C.struct_spore_context, event *C.char, length C.size_t, response *C.struct_spore_response) C.int {
	var upTo int
	if err := json.Unmarshal(C.GoBytes(unsafe.Pointer(event), C.int(length)), &upTo); err != nil {
		message := C.CString(err.Error())
		defer C.free(unsafe.Pointer(message))
		C.fail(response, message)
		return 1
	}
	text, _ := json.Marshal(count(upTo))
	C.answer(response, (*C.char)(unsafe.Pointer(&text[0])), C.size_t(len(text)))
	return 0
}

func main() {
	var upTo int
	text, _ := io.ReadAll(os.Stdin)
	if err := json.Unmarshal(text, &upTo); err != nil {
		fmt.Fprintln(os.Stderr, "not a number:", err)
		os.Exit(3)
	}
	out, _ := json.Marshal(count(upTo))
	fmt.Println(string(out))
}
