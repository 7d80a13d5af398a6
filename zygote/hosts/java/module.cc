// libspore_java.so: what the Java host needs from below. It is loaded twice: preloaded into java,
// so that it sees every thread that is made (zygote/sfork/interpose.cc), and by System.load for the
// native methods of spore.host.Native.
#include <jni.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <optional>
#include <vector>

#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/common/read_file.h"
#include "zygote/hosts/common/working_set.h"
#include "zygote/hosts/common/zygote_loop.h"
#include "zygote/hosts/java/heap_limit.h"
#include "zygote/hosts/java/jni_util.h"
#include "zygote/hosts/java/renewal.h"
#include "zygote/hosts/java/surroundings.h"

namespace {

using spore::java::Bytes;
using spore::java::Text;
using spore::java::Throw;
using spore::wire::FrameHeader;
using spore::wire::FrameType;

// Of this process, between its sfork and its specialisation.
std::unique_ptr<spore::Unspecialised> this_child;
// Before that the zygote warms up all that a child will run; what would change it for good, and so
// all of its children, is left out here, since what a branch in Java has not seen is not compiled.
bool is_child = false;
// The Java thread that forks, and in a child why it could not be renewed.
JNIEnv* forking_env = nullptr;
std::string not_renewed;

jstring ServeForks(JNIEnv* env, jclass, jstring version, jlong preload_us, jbyteArray load,
                   jbyteArray invoke) {
  spore::wire::ZygoteReady ready;
  snprintf(ready.runtime_version, sizeof ready.runtime_version, "%s", Text(env, version).c_str());
  ready.preload_us = static_cast<uint64_t>(preload_us);
  forking_env = env;
  const spore::RuntimeHooks hooks{
      .in_child = [] { not_renewed = spore::java::RenewAhead(forking_env); }};
  // HotSpot's threads touch in a child what the rehearsal has not: 80 faults when they are made.
  constexpr uint64_t kFlatFrom = uint64_t{128} << 20;
  const spore::ForkOptions options{.hooks = hooks,
                                   .threads = true,
                                   .copies_zygotes = true,
                                   .rehearsal_load = Bytes(env, load),
                                   .rehearsal_invoke = Bytes(env, invoke),
                                   .flat_from_bytes = kFlatFrom};
  spore::Result<spore::Copy> copy = spore::ServeOrders(ready, options);
  if (!copy) {
    Throw(env, copy.error().Message());
    return nullptr;
  }
  if (const auto* zygote = std::get_if<spore::LibraryZygote>(&*copy)) {
    if (not_renewed.empty()) return env->NewStringUTF(zygote->modules.c_str());
    Throw(env, not_renewed);
    return nullptr;
  }
  this_child =
      std::make_unique<spore::Unspecialised>(std::get<spore::Unspecialised>(std::move(*copy)));
  return nullptr;
}

jint AwaitTenant(JNIEnv*, jclass) {
  const spore::wire::Mode mode = this_child->AwaitTenant();
  this_child.reset();
  is_child = true;
  return static_cast<jint>(mode);
}

void ReportUnready(JNIEnv* env, jclass, jstring reason) {
  spore::ReportUnready(Text(env, reason).c_str());
}

void Refuse(JNIEnv* env, const std::string& missing) {
  if (missing.empty()) return;
  Throw(env, "this Java cannot be forked safely: it has no " + missing + "; use OpenJDK 17 or 21");
}

void Prepare(JNIEnv* env, jclass) {
  spore::java::PrepareHeapLimit();
  Refuse(env, spore::java::PrepareSurroundings(env));
}

void NoteThreads(JNIEnv* env, jclass, jobjectArray threads) {
  Refuse(env, spore::java::PrepareRenewal(env, threads));
}

void Renew(JNIEnv* env, jclass) {
  if (!not_renewed.empty()) return Throw(env, not_renewed);
  (void)spore::java::RenewRest(env);  // else the exception is pending
}

jboolean LimitHeap(JNIEnv*, jclass, jlong bytes) {
  return is_child && spore::java::LimitHeap(static_cast<size_t>(bytes)) ? JNI_TRUE : JNI_FALSE;
}

// In pieces, so that a collection need not wait until all has come.
bool ReadInto(JNIEnv* env, jbyteArray body, size_t bytes) {
  std::vector<jbyte> piece(std::min<size_t>(bytes, 64 << 10));
  for (size_t at = 0; at < bytes;) {
    const size_t part = std::min(piece.size(), bytes - at);
    if (!spore::ReadExactly(spore::kInstanceFd, piece.data(), part)) return false;
    if (body != nullptr) {
      env->SetByteArrayRegion(body, static_cast<jsize>(at), static_cast<jsize>(part), piece.data());
    }
    at += part;
  }
  return true;
}

jbyteArray Receive(JNIEnv* env, jclass, jlongArray header_out) {
  FrameHeader header{};
  spore::SendQueuedBeforeWaiting();
  if (!spore::ReadExactly(spore::kInstanceFd, &header, sizeof header)) return nullptr;
  if (header.type == FrameType::kReportPages) spore::ReportWorkingSet(spore::kInstanceFd);
  const jlong told[] = {static_cast<jlong>(header.type), static_cast<jlong>(header.id)};
  env->SetLongArrayRegion(header_out, 0, 2, told);
  jbyteArray body = env->NewByteArray(static_cast<jsize>(header.length));
  jthrowable no_memory = env->ExceptionOccurred();
  if (no_memory != nullptr) env->ExceptionClear();
  if (!ReadInto(env, body, header.length)) return nullptr;
  if (no_memory != nullptr) env->Throw(no_memory);
  return body;
}

jboolean Send(JNIEnv* env, jclass, jint type, jlong id, jbyteArray body) {
  const jsize length = env->GetArrayLength(body);
  jbyte* bytes = env->GetByteArrayElements(body, nullptr);
  if (bytes == nullptr) return JNI_FALSE;
  const bool sent =
      spore::WriteFrame(spore::kInstanceFd, static_cast<FrameType>(type), static_cast<uint64_t>(id),
                        bytes, static_cast<size_t>(length));
  env->ReleaseByteArrayElements(body, bytes, JNI_ABORT);
  return sent ? JNI_TRUE : JNI_FALSE;
}

// System.nanoTime is CLOCK_MONOTONIC.
void QueueLoaded(JNIEnv* env, jclass, jlong began_ns, jbyteArray imported) {
  spore::QueueLoaded(static_cast<uint64_t>(began_ns),
                     imported == nullptr ? std::string() : Bytes(env, imported));
}

// ClassLoader.findLoadedClass is protected.
jboolean IsLoaded(JNIEnv* env, jclass, jobject loader, jstring name) {
  const jmethodID find =
      env->GetMethodID(env->FindClass("java/lang/ClassLoader"), "findLoadedClass",
                       "(Ljava/lang/String;)Ljava/lang/Class;");
  if (find == nullptr) return JNI_FALSE;  // and an exception is pending
  return env->CallObjectMethod(loader, find, name) != nullptr ? JNI_TRUE : JNI_FALSE;
}

jbyteArray ReadFile(JNIEnv* env, jclass, jstring path) {
  const std::optional<std::string> content = spore::ReadWholeFile(Text(env, path));
  if (!content) return nullptr;
  const jbyteArray array = env->NewByteArray(static_cast<jsize>(content->size()));
  if (array == nullptr) return nullptr;
  env->SetByteArrayRegion(array, 0, static_cast<jsize>(content->size()),
                          reinterpret_cast<const jbyte*>(content->data()));
  return array;
}

void CloseChannel(JNIEnv*, jclass) {
  close(spore::kInstanceFd);
}

void SetEnvironment(JNIEnv* env, jclass, jobjectArray names_and_values) {
  spore::java::SetEnvironment(env, names_and_values);
}

void ChangeDirectory(JNIEnv* env, jclass, jstring path) {
  spore::java::ChangeDirectory(env, path);
}

void SetSystemClassLoader(JNIEnv* env, jclass, jobject loader) {
  if (is_child) spore::java::SetSystemClassLoader(env, loader);
}

jobject SignatureOf(JNIEnv* env, jclass, jobject method) {
  return spore::java::SignatureOf(env, method);
}

template <typename Function>
JNINativeMethod Method(const char* name, const char* signature, Function function) {
  return {const_cast<char*>(name), const_cast<char*>(signature), reinterpret_cast<void*>(function)};
}

}  // namespace

extern "C" JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void*) {
  void* address = nullptr;
  if (vm->GetEnv(&address, JNI_VERSION_10) != JNI_OK) return JNI_ERR;
  auto* env = static_cast<JNIEnv*>(address);
  // Programs that a tenant starts are none of ours.
  unsetenv("LD_PRELOAD");
  const jclass native = env->FindClass("spore/host/Native");
  if (native == nullptr) return JNI_ERR;
  const JNINativeMethod methods[] = {
      Method("serveForks", "(Ljava/lang/String;J[B[B)Ljava/lang/String;", ServeForks),
      Method("awaitTenant", "()I", AwaitTenant),
      Method("reportUnready", "(Ljava/lang/String;)V", ReportUnready),
      Method("prepare", "()V", Prepare),
      Method("noteThreads", "([Ljava/lang/Thread;)V", NoteThreads),
      Method("renew", "()V", Renew),
      Method("limitHeap", "(J)Z", LimitHeap),
      Method("receive", "([J)[B", Receive),
      Method("send", "(IJ[B)Z", Send),
      Method("queueLoaded", "(J[B)V", QueueLoaded),
      Method("isLoaded", "(Ljava/lang/ClassLoader;Ljava/lang/String;)Z", IsLoaded),
      Method("readFile", "(Ljava/lang/String;)[B", ReadFile),
      Method("closeChannel", "()V", CloseChannel),
      Method("setEnvironment", "([[B)V", SetEnvironment),
      Method("changeDirectory", "(Ljava/lang/String;)V", ChangeDirectory),
      Method("signatureOf", "(Ljava/lang/reflect/Method;)Ljava/lang/String;", SignatureOf),
      Method("setSystemClassLoader", "(Ljava/lang/ClassLoader;)V", SetSystemClassLoader),
  };
  const auto count = static_cast<jint>(std::size(methods));
  return env->RegisterNatives(native, methods, count) == 0 ? JNI_VERSION_10 : JNI_ERR;
}
