// _spore: what the Python host needs from below, as an extension module of the stable ABI, so that
// one build serves every CPython from 3.11 on.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/common/zygote_loop.h"
#include "zygote/hosts/python/fill_holes.h"
#include "zygote/sfork/audit.h"

// Of CPython's interface for debuggers, which is as it is from 3.0 to 3.14 but not in the limited
// API's headers.
extern "C" PyThreadState* PyInterpreterState_ThreadHead(PyInterpreterState* interpreter);
extern "C" PyThreadState* PyThreadState_Next(PyThreadState* state);

namespace {

using spore::wire::FrameHeader;
using spore::wire::FrameType;

// Of this process, between its sfork and its specialisation.
std::unique_ptr<spore::Unspecialised> this_child;

// What has been read beyond the frame that was asked for: the first ones come together.
struct {
  char bytes[8192];
  size_t at = 0;
  size_t end = 0;
  bool rehearsing = false;  // the frames are all there, and nothing goes out
} ahead;

// As ReadExactly, with fewer calls.
bool ReadAhead(void* buffer, size_t bytes) {
  auto* out = static_cast<char*>(buffer);
  for (;;) {
    const size_t part = std::min(bytes, ahead.end - ahead.at);
    memcpy(out, ahead.bytes + ahead.at, part);
    ahead.at += part;
    out += part;
    bytes -= part;
    if (bytes == 0) return true;
    if (ahead.rehearsing) return false;
    if (bytes >= sizeof ahead.bytes) return spore::ReadExactly(spore::kInstanceFd, out, bytes);
    spore::SendQueuedBeforeWaiting();
    const ssize_t got = read(spore::kInstanceFd, ahead.bytes, sizeof ahead.bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    ahead.at = 0;
    ahead.end = static_cast<size_t>(got);
  }
}

// Threads that the interpreter knows, the caller's among them. Those of C code that do not call
// into it have no state; PyOS_AfterFork_Child frees all states but one, without looking.
PyObject* CountThreadStates(PyObject*, PyObject*) {
  long count = 0;
  for (PyThreadState* state = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
       state != nullptr; state = PyThreadState_Next(state)) {
    ++count;
  }
  return PyLong_FromLong(count);
}

// Where threads are not expected: what to do about them is the image's affair.
spore::Result<> CheckNoThreads() {
  SPORE_ASSIGN(const size_t threads, spore::CountThreads());
  if (threads == 1) return {};
  return spore::MakeError(
      spore::ErrorKind::kPrecondition,
      "a preloaded module starts threads, for which the image's manifest must say threads = true",
      std::to_string(threads) + " with the first: " + spore::DescribeThreads());
}

spore::Result<spore::Copy> Serve(const spore::wire::ZygoteReady& ready, bool threads) {
  if (!threads) SPORE_TRY(CheckNoThreads());
  constexpr size_t kMostHoles = 16u << 20;
  spore::FillHoles(kMostHoles);
  return spore::ServeOrders(
      ready, {.hooks = {PyOS_BeforeFork, PyOS_AfterFork_Parent, PyOS_AfterFork_Child},
              .threads = threads,
              .copies_zygotes = true,
              .warms_up = true,
              .runs_code = true});
}

PyObject* ServeForks(PyObject*, PyObject* args) {
  const char* version = nullptr;
  unsigned long long preload_us = 0;
  int threads = 0;
  if (!PyArg_ParseTuple(args, "sKp", &version, &preload_us, &threads)) return nullptr;
  spore::wire::ZygoteReady ready;
  snprintf(ready.runtime_version, sizeof ready.runtime_version, "%s", version);
  ready.preload_us = preload_us;
  spore::Result<spore::Copy> copy = Serve(ready, threads != 0);
  if (!copy) {
    PyErr_SetString(PyExc_RuntimeError, copy.error().Message().c_str());
    return nullptr;
  }
  if (const auto* zygote = std::get_if<spore::LibraryZygote>(&*copy))
    return PyUnicode_FromStringAndSize(zygote->modules.data(),
                                       static_cast<Py_ssize_t>(zygote->modules.size()));
  this_child =
      std::make_unique<spore::Unspecialised>(std::get<spore::Unspecialised>(std::move(*copy)));
  Py_RETURN_NONE;
}

// Whether a tenant is there already, so that warming up would only keep it waiting.
PyObject* TenantWaiting(PyObject*, PyObject*) {
  pollfd channel{spore::kInstanceFd, POLLIN, 0};
  return PyBool_FromLong(poll(&channel, 1, 0) == 1);
}

PyObject* AwaitTenant(PyObject*, PyObject*) {
  if (!this_child) {
    PyErr_SetString(PyExc_RuntimeError, "not a child that waits for its tenant");
    return nullptr;
  }
  const spore::wire::Mode mode = this_child->AwaitTenant();
  // Not destroyed: that writes to, and so copies, what is shared with the zygote.
  static_cast<void>(this_child.release());
  return PyLong_FromUnsignedLong(static_cast<unsigned long>(mode));
}

PyObject* ReportUnready(PyObject*, PyObject* args) {
  const char* reason = nullptr;
  if (!PyArg_ParseTuple(args, "s", &reason)) return nullptr;
  spore::ReportUnready(reason);
  Py_RETURN_NONE;
}

// The next frame as (type, id, body); None when the daemon has closed the channel.
PyObject* Receive(PyObject*, PyObject*) {
  FrameHeader header{};
  bool got = false;
  Py_BEGIN_ALLOW_THREADS;
  got = ReadAhead(&header, sizeof header);
  Py_END_ALLOW_THREADS;
  if (!got) Py_RETURN_NONE;
  PyObject* body = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(header.length));
  if (body == nullptr) return nullptr;
  char* bytes = PyBytes_AsString(body);
  Py_BEGIN_ALLOW_THREADS;
  got = ReadAhead(bytes, header.length);
  Py_END_ALLOW_THREADS;
  if (!got) {
    Py_DECREF(body);
    Py_RETURN_NONE;
  }
  return Py_BuildValue("(IKN)", static_cast<unsigned>(header.type),
                       static_cast<unsigned long long>(header.id), body);
}

// send(type, id, body) -> bool
PyObject* Send(PyObject*, PyObject* args) {
  unsigned type = 0;
  unsigned long long id = 0;
  const char* body = nullptr;
  Py_ssize_t length = 0;
  if (!PyArg_ParseTuple(args, "IKy#", &type, &id, &body, &length)) return nullptr;
  if (ahead.rehearsing) {
    spore::DropQueued();
    Py_RETURN_TRUE;
  }
  bool sent = false;
  Py_BEGIN_ALLOW_THREADS;
  sent = spore::WriteFrame(spore::kInstanceFd, static_cast<FrameType>(type), id, body,
                           static_cast<size_t>(length));
  Py_END_ALLOW_THREADS;
  return PyBool_FromLong(sent);
}

PyObject* Queue(PyObject*, PyObject* args) {
  unsigned type = 0;
  unsigned long long id = 0;
  const char* body = nullptr;
  Py_ssize_t length = 0;
  if (!PyArg_ParseTuple(args, "IKy#", &type, &id, &body, &length)) return nullptr;
  return PyBool_FromLong(spore::QueueFrame(spore::kInstanceFd, static_cast<FrameType>(type), id,
                                           body, static_cast<size_t>(length)));
}

PyObject* Rehearse(PyObject*, PyObject* args) {
  const char* frames = nullptr;
  Py_ssize_t length = 0;
  if (!PyArg_ParseTuple(args, "y#", &frames, &length)) return nullptr;
  if (static_cast<size_t>(length) > sizeof ahead.bytes) {
    PyErr_SetString(PyExc_ValueError, "too long to be rehearsed");
    return nullptr;
  }
  memcpy(ahead.bytes, frames, static_cast<size_t>(length));
  ahead.at = 0;
  ahead.end = static_cast<size_t>(length);
  ahead.rehearsing = length > 0;
  Py_RETURN_NONE;
}

PyMethodDef kMethods[] = {
    {"serve_forks", ServeForks, METH_VARARGS,
     "serve_forks(version, preload_us, threads) -> None or str\n\nReturns in each child, inside "
     "its "
     "sandbox: None. Its threads, where there may be any, come back in await_tenant. And in a copy "
     "that is to be a zygote, outside of any: the modules to import before it serves."},
    {"thread_states", CountThreadStates, METH_NOARGS, "thread_states() -> int"},
    {"tenant_waiting", TenantWaiting, METH_NOARGS, "tenant_waiting() -> bool"},
    {"await_tenant", AwaitTenant, METH_NOARGS,
     "await_tenant() -> mode\n\nConfined for good from here on. Of a session, returns in its "
     "interpreters only."},
    {"report_unready", ReportUnready, METH_VARARGS, "report_unready(reason)"},
    {"receive", Receive, METH_NOARGS, "receive() -> (type, id, body) or None"},
    {"queue", Queue, METH_VARARGS, "queue(type, id, body) -> bool\n\nGoes out with the next send."},
    {"send", Send, METH_VARARGS, "send(type, id, body) -> bool"},
    {"rehearse", Rehearse, METH_VARARGS,
     "rehearse(frames)\n\nreceive() gives these and then None, and nothing is sent, until they are "
     "b''."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {
    PyModuleDef_HEAD_INIT, "_spore", nullptr, -1, kMethods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__spore() {
  return PyModule_Create(&kModule);
}
