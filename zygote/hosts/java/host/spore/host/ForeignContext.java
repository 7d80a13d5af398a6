package spore.host;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import spore.Context;

/**
 * The context as an interface that the tenant brought: com.amazonaws.services.lambda.runtime.Context
 * and what its methods return, answered by name.
 */
final class ForeignContext implements InvocationHandler {
  private final Context context;

  private ForeignContext(Context context) {
    this.context = context;
  }

  static Object as(Class<?> type, Context context) {
    return proxy(type, new ForeignContext(context));
  }

  private static Object proxy(Class<?> type, InvocationHandler handler) {
    return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler);
  }

  @Override
  public Object invoke(Object self, Method method, Object[] arguments) throws Throwable {
    switch (method.getName()) {
      case "getLogger":
        return proxy(method.getReturnType(), ForeignContext::log);
      case "getClientContext":
        Map<String, Object> given = context.getClientContext();
        return given.isEmpty() ? null : proxy(method.getReturnType(), (p, m, a) -> client(given, m));
      case "equals":
        return self == arguments[0];
      case "hashCode":
        return System.identityHashCode(self);
      case "toString":
        return context.toString();
      default:
        try {
          return Context.class.getMethod(method.getName()).invoke(context);
        } catch (NoSuchMethodException e) {
          return null; // getIdentity, and what later versions may add
        }
    }
  }

  /** LambdaLogger: log(String), log(byte[]), and both with a level. */
  private static Object log(Object self, Method method, Object[] arguments) {
    if (method.getName().equals("log")) {
      Object message = arguments[0];
      System.out.print(
          message instanceof byte[] ? new String((byte[]) message, StandardCharsets.UTF_8) : message);
      System.out.flush();
    }
    return null;
  }

  private static Object client(Map<String, Object> given, Method method) {
    switch (method.getName()) {
      case "getCustom":
        return given.get("custom");
      case "getEnvironment":
        return given.get("env");
      default:
        return null;
    }
  }
}
