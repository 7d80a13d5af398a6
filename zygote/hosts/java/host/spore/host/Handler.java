package spore.host;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.List;
import java.util.Map;
import spore.RequestHandler;
import spore.RequestStreamHandler;

/**
 * A tenant's handler, found by "package.Class" or "package.Class::method", whatever of the usual
 * shapes it has: {@code R handle(Event, Context)}, the same without either parameter, or with an
 * InputStream and an OutputStream before the context.
 */
final class Handler {
  private static final String AWS_CONTEXT = "com.amazonaws.services.lambda.runtime.Context";

  private final Object instance; // null: the method is static
  private final Method method; // null: called through an interface of ours
  private final Class<?>[] parameters;
  private final Type eventType; // null: it takes no event
  private final boolean streams;

  private Handler(Object instance, Method method, Type eventType, boolean streams) {
    this.instance = instance;
    this.method = method;
    this.parameters = method == null ? null : method.getParameterTypes();
    this.eventType = eventType;
    this.streams = streams;
  }

  static Handler find(String spec, ClassLoader loader) throws Failure {
    int colons = spec.indexOf("::");
    String className = colons < 0 ? spec : spec.substring(0, colons);
    Class<?> type = load(className, loader);
    Method method = choose(type, colons < 0 ? null : spec.substring(colons + 2));
    method.setAccessible(true);
    Object instance = Modifier.isStatic(method.getModifiers()) ? null : make(type);
    Class<?>[] parameters = method.getParameterTypes();
    boolean streams = parameters.length > 0 && parameters[0] == InputStream.class;
    boolean ours = instance instanceof RequestHandler || instance instanceof RequestStreamHandler;
    boolean direct = ours && method.getName().equals("handleRequest") && parameters.length == (streams ? 3 : 2);
    Type event = null;
    if (parameters.length > 0 && !streams && !isContext(parameters[0])) {
      event = isPlain(method, parameters[0]) ? Object.class : method.getGenericParameterTypes()[0];
      if (event instanceof TypeVariable) {
        event = parameters[0];
      }
    }
    return new Handler(instance, direct ? null : method, event, streams);
  }

  /**
   * Map and List of anything: read as they come. Told from the signature's text (JVMS 4.7.9.1), since
   * the library takes it apart into objects for each child again.
   */
  private static boolean isPlain(Method method, Class<?> event) {
    if (event != Map.class && event != List.class) {
      return event == Object.class;
    }
    String signature = Native.signatureOf(method);
    return signature == null
        || signature.startsWith("(Ljava/util/Map<Ljava/lang/String;Ljava/lang/Object;>;")
        || signature.startsWith("(Ljava/util/Map<Ljava/lang/String;*>;")
        || signature.startsWith("(Ljava/util/List<Ljava/lang/Object;>;")
        || signature.startsWith("(Ljava/util/List<*>;");
  }

  private static Class<?> load(String name, ClassLoader loader) throws Failure {
    try {
      return Class.forName(name, true, loader);
    } catch (ClassNotFoundException e) {
      throw new Failure(
          "Runtime.ImportModuleError",
          name.equals(e.getMessage())
              ? "Unable to load class '" + name + "': it is neither in /var/task nor in a jar there"
              : "Unable to load class '" + name + "': class " + e.getMessage() + " is missing",
          Failure.stackOf(e));
    } catch (ExceptionInInitializerError e) {
      throw Failure.of(e.getCause() == null ? e : e.getCause());
    } catch (LinkageError e) {
      throw new Failure(
          "Runtime.ImportModuleError",
          "Unable to load class '" + name + "': " + e.getClass().getSimpleName() + ": " + Failure.messageOf(e),
          Failure.stackOf(e));
    }
  }

  /** The method of that name with the most parameters that the host can give. */
  private static Method choose(Class<?> type, String name) throws Failure {
    Method[] methods = type.getMethods();
    String wanted = name != null ? name : isNamed(methods, "handleRequest") ? "handleRequest" : "handle";
    Method best = null;
    Method unfit = null;
    for (Method method : methods) {
      if (!method.getName().equals(wanted) || method.isBridge() || method.isSynthetic()) {
        continue;
      }
      if (!fits(method.getParameterTypes())) {
        unfit = method;
      } else if (best == null || method.getParameterCount() > best.getParameterCount()) {
        best = method;
      }
    }
    if (best != null) {
      return best;
    }
    if (unfit != null) {
      throw new Failure(
          "Runtime.HandlerNotFound",
          "Method '" + wanted + "' of class '" + type.getName() + "' takes other parameters than"
              + " (event, context), (event), (context), () or (InputStream, OutputStream, context)");
    }
    throw new Failure(
        "Runtime.HandlerNotFound",
        name != null
            ? "Class '" + type.getName() + "' has no public method '" + name + "'"
            : "Class '" + type.getName() + "' implements no RequestHandler and has no public method"
                + " 'handle'; name another one as in " + type.getName() + "::method");
  }

  private static boolean isNamed(Method[] methods, String name) {
    for (Method method : methods) {
      if (method.getName().equals(name)) {
        return true;
      }
    }
    return false;
  }

  private static boolean isContext(Class<?> type) {
    return type == spore.Context.class || type.isInterface() && type.getName().equals(AWS_CONTEXT);
  }

  private static boolean fits(Class<?>[] types) {
    if (types.length > 0 && types[0] == InputStream.class) {
      return types.length > 1
          && types[1] == OutputStream.class
          && (types.length == 2 || types.length == 3 && isContext(types[2]));
    }
    return types.length <= 1 || types.length == 2 && isContext(types[1]);
  }

  private static Object make(Class<?> type) throws Failure {
    try {
      Constructor<?> constructor = type.getDeclaredConstructor();
      constructor.setAccessible(true);
      return constructor.newInstance();
    } catch (NoSuchMethodException | InstantiationException e) {
      throw new Failure(
          "Runtime.HandlerNotFound",
          "Class '" + type.getName() + "' cannot be instantiated: it is abstract, or has no"
              + " constructor without parameters");
    } catch (InvocationTargetException e) {
      throw Failure.of(e.getCause());
    } catch (ReflectiveOperationException | LinkageError e) {
      throw Failure.of(e);
    }
  }

  /** The answer's JSON. Whatever the tenant's code throws comes out as it is. */
  byte[] call(byte[] body, int from, int length, HostContext context) throws Throwable {
    if (streams) {
      return callStreams(new ByteArrayInputStream(body, from, length), context);
    }
    Object event = null;
    if (eventType != null) {
      try {
        event = Json.read(body, from, length, eventType);
      } catch (Json.Malformed e) {
        throw new Failure("Runtime.UnmarshalError", "Unable to unmarshal input: " + e.getMessage());
      }
    }
    Object result = method == null ? callDirectly(event, context) : callMethod(event, context);
    return marshal(result);
  }

  private static byte[] marshal(Object result) throws Failure {
    try {
      return Json.writeResult(result);
    } catch (Json.Malformed e) {
      throw new Failure("Runtime.MarshalError", "Unable to marshal response: " + e.getMessage());
    }
  }

  @SuppressWarnings("unchecked")
  private Object callDirectly(Object event, HostContext context) throws Throwable {
    try {
      return ((RequestHandler<Object, Object>) instance).handleRequest(event, context);
    } catch (ClassCastException e) {
      StackTraceElement[] stack = e.getStackTrace();
      // The compiler's bridge method, before a line of the tenant's: the event is of another type.
      if (stack.length > 1 && stack[1].getClassName().startsWith("spore.host.")) {
        throw new Failure("Runtime.UnmarshalError", "Unable to unmarshal input: " + e.getMessage());
      }
      throw e;
    }
  }

  private Object callMethod(Object event, HostContext context) throws Throwable {
    Object[] arguments = new Object[parameters.length];
    for (int i = 0; i < arguments.length; i++) {
      arguments[i] = isContext(parameters[i]) ? contextAs(parameters[i], context) : event;
    }
    return callReflectively(arguments);
  }

  private Object callReflectively(Object[] arguments) throws Throwable {
    try {
      return method.invoke(instance, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    } catch (IllegalArgumentException e) {
      throw new Failure("Runtime.UnmarshalError", "Unable to unmarshal input: " + e.getMessage());
    }
  }

  private byte[] callStreams(InputStream in, HostContext context) throws Throwable {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    if (method == null) {
      ((RequestStreamHandler) instance).handleRequest(in, out, context);
    } else if (parameters.length == 2) {
      callReflectively(new Object[] {in, out});
    } else {
      callReflectively(new Object[] {in, out, contextAs(parameters[2], context)});
    }
    return out.size() == 0 ? new byte[] {'n', 'u', 'l', 'l'} : out.toByteArray();
  }

  private static Object contextAs(Class<?> type, HostContext context) {
    return type == spore.Context.class ? context : ForeignContext.as(type, context);
  }
}
