package io.mainspring.flink;

import java.io.File;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.jar.JarFile;
import java.util.zip.ZipEntry;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.FallbackKey;

/**
 * Writes the names of all settings that Flink's own classes declare, one a line, so that a mistyped
 * one can be recognised. Flink itself has no list of them; set-up runs this program once.
 * Arguments: the file to write, then the jars.
 */
public final class KnownSettings {
    private static final String DECLARES = "org/apache/flink/.*(Options|Constants|Configuration|Parameters|Settings)\\.class";
    private static final String CLASS = ".class";

    private KnownSettings() {}

    public static void main(String[] args) throws IOException {
        TreeSet<String> names = new TreeSet<>();
        for (String jar : List.of(args).subList(1, args.length)) {
            try (JarFile file = new JarFile(new File(jar))) {
                file.stream().map(ZipEntry::getName).filter(entry -> entry.matches(DECLARES)).forEach(entry -> collect(entry, names));
            }
        }
        Files.write(Path.of(args[0]), names);
    }

    private static void collect(String entry, TreeSet<String> names) {
        String name = entry.substring(0, entry.length() - CLASS.length()).replace('/', '.');
        try {
            for (Field field : Class.forName(name).getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers()) && ConfigOption.class.isAssignableFrom(field.getType())) {
                    field.setAccessible(true);
                    ConfigOption<?> option = (ConfigOption<?>) field.get(null);
                    names.add(option.key());
                    for (FallbackKey earlier : option.fallbackKeys()) {
                        names.add(earlier.getKey());
                    }
                }
            }
        } catch (ReflectiveOperationException | LinkageError | RuntimeException e) {
            // The class needs a library that is not there. Its settings are not known, and nothing
            // else is lost.
        }
    }
}
