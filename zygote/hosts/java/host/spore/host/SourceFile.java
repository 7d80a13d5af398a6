package spore.host;

import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.Tree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TaskEvent;
import com.sun.source.util.TaskListener;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/** A program in one source file (JEP 330), compiled in memory by the runtime's own compiler. */
final class SourceFile {
  /** The first top-level class of the file, compiled. */
  static Class<?> compile(String name, String text, ClassLoader shared) throws Failure, IOException {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    if (compiler == null) {
      throw new Failure("", "the image's Java has no compiler; give a jar, or install a JDK");
    }
    PrintWriter messages = new PrintWriter(System.err, true);
    try (StandardJavaFileManager standard = compiler.getStandardFileManager(null, null, null)) {
      Memory memory = new Memory(standard);
      List<String> options = List.of("-proc:none", "-Xdiags:verbose", "-Xlint:deprecation", "-Xlint:unchecked");
      JavacTask task =
          (JavacTask) compiler.getTask(messages, memory, null, options, null, List.of(new Source(name, text)));
      FirstClass first = new FirstClass();
      task.addTaskListener(first);
      if (!task.call()) {
        throw new Failure("", "compilation failed");
      }
      if (first.name == null) {
        throw new Failure("", "no class declared in " + name);
      }
      ClassLoader loader = new MemoryLoader(memory.classes, shared);
      Script.becomeSystemLoader(loader, "");
      return Class.forName(first.name, false, loader);
    } catch (ClassNotFoundException | LinkageError e) {
      throw new Failure("", "cannot load the program: " + e);
    }
  }

  /** Hears of the file when it has been parsed. */
  private static final class FirstClass implements TaskListener {
    String name; // null: there is none

    @Override
    public void finished(TaskEvent event) {
      if (event.getKind() != TaskEvent.Kind.PARSE) {
        return;
      }
      CompilationUnitTree unit = event.getCompilationUnit();
      for (Tree declared : unit.getTypeDecls()) {
        if (declared instanceof ClassTree) {
          String simple = ((ClassTree) declared).getSimpleName().toString();
          name = unit.getPackageName() == null ? simple : unit.getPackageName() + "." + simple;
          return;
        }
      }
    }
  }

  /** The text, whose first line may be for a shell. */
  private static final class Source extends SimpleJavaFileObject {
    private final String name;
    private final String text;

    Source(String name, String text) {
      super(uriOf(name), Kind.SOURCE);
      this.name = name;
      this.text = text.startsWith("#!") ? "//" + text : text;
    }

    /** Its last part is what stack traces call the file. */
    private static URI uriOf(String name) {
      try {
        return new URI("memory", null, "/" + name, null);
      } catch (URISyntaxException e) {
        return URI.create("memory:///Main.java");
      }
    }

    @Override
    public String getName() {
      return name;
    }

    @Override
    public boolean isNameCompatible(String simpleName, Kind kind) {
      return true; // a public class may be called otherwise than the file
    }

    @Override
    public CharSequence getCharContent(boolean ignoreEncodingErrors) {
      return text;
    }
  }

  /** Where the compiler puts classes. */
  private static final class Memory extends ForwardingJavaFileManager<JavaFileManager> {
    final Map<String, ByteArrayOutputStream> classes = new HashMap<>();

    Memory(JavaFileManager below) {
      super(below);
    }

    @Override
    public JavaFileObject getJavaFileForOutput(
        Location location, String className, JavaFileObject.Kind kind, FileObject sibling) {
      return new SimpleJavaFileObject(URI.create("memory:///" + className.replace('.', '/')), kind) {
        @Override
        public OutputStream openOutputStream() {
          ByteArrayOutputStream out = new ByteArrayOutputStream();
          classes.put(className, out);
          return out;
        }
      };
    }
  }

  private static final class MemoryLoader extends ClassLoader {
    private final Map<String, ByteArrayOutputStream> classes;

    MemoryLoader(Map<String, ByteArrayOutputStream> classes, ClassLoader parent) {
      super(parent);
      this.classes = classes;
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
      ByteArrayOutputStream compiled = classes.get(name);
      if (compiled == null) {
        throw new ClassNotFoundException(name);
      }
      byte[] bytes = compiled.toByteArray();
      return defineClass(name, bytes, 0, bytes.length);
    }
  }

  private SourceFile() {}
}
