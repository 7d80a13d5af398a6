#include "zygote/hosts/java/surroundings.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "zygote/hosts/java/jni_util.h"

namespace spore::java {
namespace {

struct Places {
  // System.getenv: a HashMap of ProcessEnvironment's own kinds of text.
  jobject environment = nullptr;
  jclass variable = nullptr, value = nullptr;
  jmethodID variable_of = nullptr, value_of = nullptr, put = nullptr;
  // java.io.File's and java.nio.file's working directory.
  jobject io_files = nullptr, nio_files = nullptr;
  jfieldID io_directory = nullptr, nio_directory = nullptr, nio_resolves = nullptr;
  jclass class_loader = nullptr;
  jfieldID system_loader = nullptr;
  jfieldID signature = nullptr;  // of java.lang.reflect.Method
};
Places places;

void FindEnvironment(Lookup& find) {
  places.environment =
      find.StaticObject("java/lang/ProcessEnvironment", "theEnvironment", "Ljava/util/HashMap;");
  places.variable = find.Class("java/lang/ProcessEnvironment$Variable");
  places.value = find.Class("java/lang/ProcessEnvironment$Value");
  places.variable_of =
      find.StaticMethod(places.variable, "valueOf", "([B)Ljava/lang/ProcessEnvironment$Variable;");
  places.value_of =
      find.StaticMethod(places.value, "valueOf", "([B)Ljava/lang/ProcessEnvironment$Value;");
  places.put = find.Method(find.Class("java/util/HashMap"), "put",
                           "(Ljava/lang/Object;Ljava/lang/Object;)Ljava/lang/Object;");
}

void FindDirectories(JNIEnv* env, Lookup& find) {
  const jclass file = find.Class("java/io/File");
  if (file == nullptr) return;
  // JDK 17 calls it fs; JDK 21 FS.
  jfieldID io = env->GetStaticFieldID(file, "fs", "Ljava/io/FileSystem;");
  if (io == nullptr) {
    env->ExceptionClear();
    io = find.StaticField(file, "FS", "Ljava/io/FileSystem;");
  }
  if (io != nullptr) places.io_files = Keep(env, env->GetStaticObjectField(file, io));
  places.io_directory =
      find.Field(find.Class("java/io/UnixFileSystem"), "userDir", "Ljava/lang/String;");
  const jclass provider = find.Class("sun/nio/fs/DefaultFileSystemProvider");
  const jmethodID get =
      find.StaticMethod(provider, "theFileSystem", "()Ljava/nio/file/FileSystem;");
  if (get != nullptr) places.nio_files = Keep(env, env->CallStaticObjectMethod(provider, get));
  const jclass nio = find.Class("sun/nio/fs/UnixFileSystem");
  places.nio_directory = find.Field(nio, "defaultDirectory", "[B");
  places.nio_resolves = find.Field(nio, "needToResolveAgainstDefaultDirectory", "Z");
}

}  // namespace

std::string PrepareSurroundings(JNIEnv* env) {
  Lookup find(env);
  FindEnvironment(find);
  FindDirectories(env, find);
  places.class_loader = find.Class("java/lang/ClassLoader");
  places.system_loader = find.StaticField(places.class_loader, "scl", "Ljava/lang/ClassLoader;");
  places.signature =
      find.Field(find.Class("java/lang/reflect/Method"), "signature", "Ljava/lang/String;");
  return find.missing();
}

void SetEnvironment(JNIEnv* env, jobjectArray names_and_values) {
  for (jsize i = 0; i + 1 < env->GetArrayLength(names_and_values); i += 2) {
    auto* name = static_cast<jbyteArray>(env->GetObjectArrayElement(names_and_values, i));
    auto* value = static_cast<jbyteArray>(env->GetObjectArrayElement(names_and_values, i + 1));
    setenv(Bytes(env, name).c_str(), Bytes(env, value).c_str(), 1);
    const jobject key = env->CallStaticObjectMethod(places.variable, places.variable_of, name);
    if (env->ExceptionCheck() != 0) return;
    const jobject text = env->CallStaticObjectMethod(places.value, places.value_of, value);
    if (env->ExceptionCheck() != 0) return;
    const jobject old = env->CallObjectMethod(places.environment, places.put, key, text);
    if (env->ExceptionCheck() != 0) return;
    for (const jobject reference : {old, text, key}) env->DeleteLocalRef(reference);
    env->DeleteLocalRef(value);
    env->DeleteLocalRef(name);
  }
}

void ChangeDirectory(JNIEnv* env, jstring path) {
  const std::string text = Text(env, path);
  if (chdir(text.c_str()) != 0) return Throw(env, "chdir " + text + ": " + strerror(errno));
  env->SetObjectField(places.io_files, places.io_directory, path);
  const jbyteArray bytes = env->NewByteArray(static_cast<jsize>(text.size()));
  if (bytes == nullptr) return;
  env->SetByteArrayRegion(bytes, 0, static_cast<jsize>(text.size()),
                          reinterpret_cast<const jbyte*>(text.data()));
  env->SetObjectField(places.nio_files, places.nio_directory, bytes);
  env->SetBooleanField(places.nio_files, places.nio_resolves, JNI_FALSE);
}

void SetSystemClassLoader(JNIEnv* env, jobject loader) {
  env->SetStaticObjectField(places.class_loader, places.system_loader, loader);
}

jobject SignatureOf(JNIEnv* env, jobject method) {
  return env->GetObjectField(method, places.signature);
}

}  // namespace spore::java
