// Small helpers over the Java Native Interface.
#pragma once

#include <jni.h>

#include <string>

namespace spore::java {

// A reference that outlives the native call it was made in, and is never given back: what it names
// is needed as long as the process lives. Null, and no exception, when `local` is null.
inline jobject Keep(JNIEnv* env, jobject local) {
  return local == nullptr ? nullptr : env->NewGlobalRef(local);
}

// Looks things up that this JDK may or may not have. The first that is missing is kept as the
// reason, and no later call does anything; JNI ignores access rules, so private members are found.
class Lookup {
 public:
  explicit Lookup(JNIEnv* env) : env_(env) {}

  jclass Class(const char* name) {
    if (!missing_.empty()) return nullptr;
    return static_cast<jclass>(Keep(env_, Check(env_->FindClass(name), name)));
  }
  jfieldID Field(jclass type, const char* name, const char* signature) {
    return missing_.empty() ? Check(env_->GetFieldID(type, name, signature), name) : nullptr;
  }
  jfieldID StaticField(jclass type, const char* name, const char* signature) {
    return missing_.empty() ? Check(env_->GetStaticFieldID(type, name, signature), name) : nullptr;
  }
  jmethodID Method(jclass type, const char* name, const char* signature) {
    return missing_.empty() ? Check(env_->GetMethodID(type, name, signature), name) : nullptr;
  }
  jmethodID StaticMethod(jclass type, const char* name, const char* signature) {
    return missing_.empty() ? Check(env_->GetStaticMethodID(type, name, signature), name) : nullptr;
  }
  // The object in a static field of a class named as FindClass wants it.
  jobject StaticObject(const char* type_name, const char* name, const char* signature) {
    const jclass type = Class(type_name);
    const jfieldID field = StaticField(type, name, signature);
    if (!missing_.empty()) return nullptr;
    const std::string whole = std::string(type_name) + "." + name;
    return Keep(env_, Check(env_->GetStaticObjectField(type, field), whole.c_str()));
  }
  // The object in a field of `object`, which is of class `type`.
  jobject Object(jobject object, jclass type, const char* name, const char* signature) {
    const jfieldID field = Field(type, name, signature);
    if (!missing_.empty()) return nullptr;
    return Keep(env_, Check(env_->GetObjectField(object, field), name));
  }

  // The first name that was not found; empty: none.
  const std::string& missing() const { return missing_; }

 private:
  template <typename T>
  T Check(T found, const char* name) {
    if (env_->ExceptionCheck() != 0) env_->ExceptionClear();
    if (found == nullptr) missing_ = name;
    return found;
  }

  JNIEnv* env_;
  std::string missing_;
};

inline void Throw(JNIEnv* env, const std::string& message) {
  const jclass type = env->FindClass("java/lang/RuntimeException");
  if (type != nullptr) env->ThrowNew(type, message.c_str());
}

inline std::string Text(JNIEnv* env, jstring text) {
  const char* characters = env->GetStringUTFChars(text, nullptr);
  if (characters == nullptr) return {};
  std::string copy(characters);
  env->ReleaseStringUTFChars(text, characters);
  return copy;
}

inline std::string Bytes(JNIEnv* env, jbyteArray array) {
  std::string copy(static_cast<size_t>(env->GetArrayLength(array)), '\0');
  env->GetByteArrayRegion(array, 0, static_cast<jsize>(copy.size()),
                          reinterpret_cast<jbyte*>(copy.data()));
  return copy;
}

}  // namespace spore::java
