#include "zygote/hosts/java/random_instances.h"

#include <jvmti.h>

#include "zygote/hosts/java/jni_util.h"

namespace spore::java {
namespace {

constexpr jlong kFound = 1;

jint JNICALL TagIt(jlong, jlong, jlong* tag, jint, void*) {
  *tag = kFound;
  return 0;
}

bool TagInstances(jvmtiEnv* tools, jclass type) {
  jvmtiHeapCallbacks callbacks{};
  callbacks.heap_iteration_callback = TagIt;
  return tools->IterateThroughHeap(0, type, &callbacks, nullptr) == JVMTI_ERROR_NONE;
}

bool Collect(JNIEnv* env, jvmtiEnv* tools, std::vector<jobject>& found) {
  jint count = 0;
  jobject* objects = nullptr;
  if (tools->GetObjectsWithTags(1, &kFound, &count, &objects, nullptr) != JVMTI_ERROR_NONE)
    return false;
  for (jint i = 0; i < count; ++i) found.push_back(Keep(env, objects[i]));
  tools->Deallocate(reinterpret_cast<unsigned char*>(objects));
  return true;
}

}  // namespace

bool FindInstances(JNIEnv* env, const char* class_name, std::vector<jobject>& found) {
  JavaVM* vm = nullptr;
  void* tools_address = nullptr;
  if (env->GetJavaVM(&vm) != JNI_OK || vm->GetEnv(&tools_address, JVMTI_VERSION_11) != JNI_OK)
    return false;
  auto* tools = static_cast<jvmtiEnv*>(tools_address);
  jvmtiCapabilities capabilities{};
  capabilities.can_tag_objects = 1;
  bool done = tools->AddCapabilities(&capabilities) == JVMTI_ERROR_NONE;
  const jclass type = Lookup(env).Class(class_name);
  done = done && type != nullptr && TagInstances(tools, type) && Collect(env, tools, found);
  tools->DisposeEnvironment();
  return done;
}

}  // namespace spore::java
