/**
 * Completion script for bash. @bomb.sh/tab's needs the package bash-completion, evaluates what was typed, and repeats
 * the part of a model's name before its last colon.
 */
export const BASH_SCRIPT = `# bash completion for graft
_graft_completion() {
    local typed=\${COMP_LINE:0:COMP_POINT} words=() out value about cur skip='' directive=0 i
    read -ra words <<< "$typed"
    [[ $typed == *[[:space:]] ]] && words+=('')
    cur=\${words[\${#words[@]}-1]}
    # Readline replaces only what follows the last word break, such as the colons in names of models.
    for ((i = 0; i < \${#cur}; i++)); do
        [[ $COMP_WORDBREAKS == *"\${cur:i:1}"* ]] && skip=\${cur:0:i+1}
    done
    out=$(graft complete -- "\${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    while IFS=$'\\t' read -r value about; do
        if [[ $value == :* ]]; then directive=\${value#:}
        elif [[ -n $value && $value == "$cur"* ]]; then COMPREPLY+=("\${value#"$skip"}"); fi
    done <<< "$out"
    if ((directive & 4)); then
        compopt +o default +o bashdefault 2>/dev/null
    else
        compopt -o filenames 2>/dev/null
        while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -f -- "$cur")
    fi
}
complete -o default -o bashdefault -F _graft_completion graft`;
