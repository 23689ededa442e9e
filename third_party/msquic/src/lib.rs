// Nothing: the dependency's build script is what this package is for.
