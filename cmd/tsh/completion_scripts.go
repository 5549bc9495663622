package main

// The scripts that have shells ask "tsh __complete WORDS…" what may come next. It answers
// with a line for each, name and description apart by a tab, and with ":" and a number
// in the last: 4 is set in it where file names make no sense. Nothing of what is typed is
// evaluated on the way. What ends in @ : = or / is not complete: no space follows it.

const bashCompletion = `# tsh in bash: eval "$(tsh completion bash)"
_tsh() {
	local line=${COMP_LINE:0:COMP_POINT} IFS=$' \t\n' full prefix= out files directive candidate i keep=0
	local -a words
	read -r -a words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=('')
	full=${words[${#words[@]}-1]}
	COMPREPLY=()
	out=$("${words[0]/#\~\//$HOME/}" __complete "${words[@]:1}" 2>/dev/null) || return 0
	directive=${out##*:}
	[[ $full == -*=* ]] && prefix=${full%%=*}=
	for ((i = ${#full}; i > 0; i--)); do # readline knows the word from here on only, an @ included
		candidate=${full:i-1:1}
		[[ $COMP_WORDBREAKS == *"$candidate"* ]] && { [[ $candidate == @ ]] && ((i--)); keep=$i; break; }
	done
	while IFS=$'\t' read -r candidate _; do
		[[ -n $candidate && $prefix$candidate == "$full"* ]] && COMPREPLY+=("$prefix$candidate")
	done <<<"${out%:*}"
	if ((!(directive & 4))); then
		files=$(compgen -f -- "${full#"$prefix"}")
		if [[ -n $files ]]; then
			((${#COMPREPLY[@]})) || compopt -o filenames 2>/dev/null
			while read -r candidate; do COMPREPLY+=("$prefix$candidate"); done <<<"$files"
		fi
	fi
	for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]:keep}; done
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[@:=/] ]] && compopt -o nospace 2>/dev/null
	return 0
}
complete -F _tsh tsh
`

const zshCompletion = `#compdef tsh
# tsh in zsh: eval "$(tsh completion zsh)", after compinit; or this as _tsh in a directory of $fpath
_tsh() {
	local prefix= out candidate
	local -a whole open
	out=$("${words[1]/#\~\//$HOME/}" __complete "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null) || return 1
	[[ $PREFIX == -*=* ]] && prefix=${PREFIX%%=*}=
	for candidate in "${(@f)${out%:*}}"; do
		candidate=${candidate%%$'\t'*}
		case $candidate in
			'') ;;
			*[@:=/]) open+=("$prefix$candidate") ;;
			*) whole+=("$prefix$candidate") ;;
		esac
	done
	(( $#whole )) && compadd -- "${whole[@]}"
	(( $#open )) && compadd -S '' -- "${open[@]}"
	(( ${out##*:} & 4 )) || _files
}
if [[ $funcstack[1] == _tsh ]]; then _tsh "$@"; else compdef _tsh tsh; fi
`

const fishCompletion = `# tsh in fish: tsh completion fish | source
function __tsh_complete
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l prefix (string match -r -- '^-[^=]*=' $current)
	set -l out (command $words[1] __complete $words[2..-1] "$current" 2>/dev/null)
	or return
	for line in $out[1..-2]
		echo -- "$prefix$line"
	end
	if test (math "floor("(string sub -s 2 -- $out[-1])" / 4) % 2") = 0
		__fish_complete_path "$current"
	end
end
complete -c tsh -f -a '(__tsh_complete)'
`

const powershellCompletion = `# tsh in PowerShell: tsh completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName 'tsh', 'tsh.exe' -ScriptBlock {
	param($current, $line, $cursor)
	$words = @($line.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursor } | ForEach-Object {
		if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text }
	})
	$arguments = @($words | Select-Object -Skip 1)
	if ($current -eq '') {
		# Before 7.3 an empty argument has to be spelled out.
		if ($PSVersionTable.PSVersion -lt [version]'7.3') { $arguments += '""' } else { $arguments += '' }
	}
	$prefix = ''
	if ($current -match '^-[^=]*=') { $prefix = $Matches[0] }
	& $words[0] __complete @arguments 2>$null | Where-Object { $_ -and $_ -notmatch '^:\d+$' } | ForEach-Object {
		$name, $description = $_ -split [char]9, 2
		$name = $prefix + $name
		if (-not $description) { $description = $name }
		if ($name.StartsWith($current)) {
			[System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $description)
		}
	}
}
`
